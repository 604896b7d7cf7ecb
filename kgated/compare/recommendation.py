"""A recommendation in plain words, with its evidence."""

from dataclasses import dataclass

from kgated.compare.results import BaselineResult, CandidateResult, DeviceRun
from kgated.compare.significance import MIN_UNITS, PairedDifference
from kgated.study.tasks.metrics import Metric


@dataclass(frozen=True)
class Evidence:
    """The results that a recommendation depends on.

    Attributes:
        metric: of the results.
        candidates: what was measured.
        best: the candidate with the best mean.
        against_best: the best candidate compared with each other one, by name.
        baselines: simple models; the first is linear.
    """

    metric: Metric
    candidates: tuple[CandidateResult, ...]
    best: CandidateResult
    against_best: dict[str, PairedDifference]
    baselines: tuple[BaselineResult, ...]

    @property
    def choice(self) -> CandidateResult:
        """The candidate with the smallest file among those not significantly worse than the best.

        If the file of at least one of them beats every simple model, the others are left out.
        Candidates without a file come last.
        """
        ahead = [candidate for candidate in self.good if self.beats_baselines(candidate)]
        return self.smallest(ahead or self.good)

    @property
    def good(self) -> list[CandidateResult]:
        """The best candidate, and those whose difference from it is within noise."""
        return [c for c in self.candidates if c is self.best or self.against_best[c.name].is_noise]

    def smallest(self, candidates: list[CandidateResult]) -> CandidateResult:
        """The candidate with the smallest file."""
        return min(candidates, key=lambda c: (_bytes(best_file(c, self.metric)), c.parameters))

    def beats_baselines(self, candidate: CandidateResult) -> bool:
        """Whether a candidate's file has a better result than every simple model."""
        device = best_file(candidate, self.metric)
        if device is None or device.value is None:
            return False
        gains = [self.metric.gain(device.value, baseline.value) for baseline in self.baselines]
        return min(gains, default=1.0) > 0.0


def recommend(evidence: Evidence) -> tuple[str, ...]:
    """Sentences: which candidate and which file to take, and on what evidence."""
    better = [b for b in evidence.baselines if b.against_best.is_gain]
    sentences = [_no_better(evidence, b) for b in evidence.baselines if b not in better]
    sentences.append(_choice(evidence))
    sentences += _differences(evidence)
    sentences.append(_file(evidence))
    sentences += [
        f"{evidence.best.name} is better than the {baseline.name} "
        f"({evidence.metric.text(baseline.value)}) beyond noise "
        f"({describe(baseline.against_best, evidence.metric)})."
        for baseline in better
    ]
    if len(evidence.choice.runs) == 1:
        sentences.append(
            "There is one seed, so the differences between trainings are not known: use --seeds 3."
        )
    return tuple(sentences)


def best_file(candidate: CandidateResult, metric: Metric) -> DeviceRun | None:
    """The smallest file within the metric's tolerance of the best file; None without files."""
    files = [(device, device.value) for device in candidate.devices if device.value is not None]
    if not files:
        return None
    values = [value for _, value in files]
    top = max(values) if metric.higher_is_better else min(values)
    return min((device for device, value in files if metric.is_close(value, top)), key=_bytes)


def describe(pair: PairedDifference, metric: Metric) -> str:
    """A difference with its interval."""
    return (
        f"{metric.difference(pair.difference)}{metric.unit_of_difference}, 95% interval "
        f"{metric.difference(pair.low)} to {metric.difference(pair.high)}"
    )


def _bytes(device: DeviceRun | None) -> float:
    return float("inf") if device is None or device.file_bytes is None else device.file_bytes


def _choice(evidence: Evidence) -> str:
    metric, choice, best = evidence.metric, evidence.choice, evidence.best
    value = f"{metric.text(choice.value)} on the test set"
    direction = "highest" if metric.higher_is_better else "lowest"
    if choice is best:
        return f"Take {choice.name}: it has the {direction} {metric.title}, {value}."
    pair = evidence.against_best[choice.name]
    return (
        f"Take {choice.name}: {value}. {best.name} has the {direction} {metric.title}, "
        f"{metric.text(best.value)}, but the difference is within noise "
        f"({describe(pair, metric)}), and {choice.name} has the smallest file of the candidates "
        f"that are as good{_and_ahead(evidence)}."
    )


def _and_ahead(evidence: Evidence) -> str:
    """A condition that left a smaller candidate out, or nothing."""
    if evidence.smallest(evidence.good) is evidence.choice:
        return ""
    return " and beat every simple model on the device"


def _differences(evidence: Evidence) -> list[str]:
    best, pairs = evidence.best, evidence.against_best
    noise = [name for name, pair in pairs.items() if pair.is_noise]
    sentences = [f"Within noise of {best.name}: {', '.join(noise)}."] if noise else []
    few = next((pair for pair in pairs.values() if pair.has_few_units), None)
    if few is not None:
        sentences.append(
            f"The test data have {few.units} sequences or groups: with fewer than {MIN_UNITS} no "
            "difference is beyond noise, so add recordings, of more persons where these are the "
            "groups."
        )
    return sentences + [
        f"{best.name} is better than {name} beyond noise ({describe(pair, evidence.metric)}"
        f"{permutation_text(pair)})."
        for name, pair in pairs.items()
        if not pair.is_noise
    ]


def permutation_text(pair: PairedDifference) -> str:
    """The p-value of the permutation test after a semicolon, where there is one."""
    p = pair.permutation_p
    return "" if p is None else f"; permutation test p = {p:.2g}"


def _file(evidence: Evidence) -> str:
    choice, metric = evidence.choice, evidence.metric
    device = best_file(choice, metric)
    if device is None:
        reasons = "; ".join(d.failure or "" for d in choice.devices)
        return f"{choice.name} has no file for a device: {reasons}"
    factor = device.real_time_factor
    speed = "" if factor is None else f", {100 * factor:.2g}% of the time between two frames"
    return (
        f"On the device take `{device.quantize}`: {metric.text(device.value or 0.0)}, "
        f"{(device.file_bytes or 0) / 1024:.1f} KiB, {device.step_us_p50:.0f} µs per "
        f"{'sequence' if choice.bidirectional else 'step'}{speed}. It is the smallest file within "
        f"{metric.tolerance_text} the best recipe."
    )


def _no_better(evidence: Evidence, baseline: BaselineResult) -> str:
    pair, metric = baseline.against_best, evidence.metric
    relation = "not better beyond noise" if pair.is_noise else "worse beyond noise"
    return (
        f"No model beats the {baseline.name} ({metric.text(baseline.value)}): "
        f"{evidence.best.name} is {relation} ({describe(pair, metric)}). It may be enough: "
        f"{baseline.description}."
    )
