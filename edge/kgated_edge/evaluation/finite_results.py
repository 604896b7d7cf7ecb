"""Counts the sequences of a run whose results are not finite."""

from kgated_edge.evaluation.metrics import Quality, Scorer
from kgated_edge.format.tensor_spec import Array
from kgated_edge.runtime.state_checks import are_finite


class FiniteResults(Scorer):
    """A scorer that also looks for NaN and inf in the results.

    Args:
        scorer: computes the metrics.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._scorer, self.metrics = scorer, scorer.metrics
        self._count = 0
        self._bad: list[int] = []

    def add(self, n: int, results: Array) -> None:
        """See `Scorer`."""
        self._count += 1
        if not are_finite([results]):
            self._bad.append(n)
        self._scorer.add(n, results)

    def quality(self) -> Quality:
        """See `Scorer`."""
        return self._scorer.quality()

    def warnings(self) -> tuple[str, ...]:
        """A sentence where there were such results; else nothing."""
        if not self._bad:
            return ()
        return (
            f"the results of {len(self._bad)} of {self._count} sequences hold NaN or inf, the "
            f"first is sequence {min(self._bad)} (from 0), and the metrics count them as they are: "
            "clip the numbers of their frames, or leave them out",
        )
