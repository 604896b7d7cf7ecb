"""Warnings where a model has learned nothing that its data can show."""

from collections.abc import Sequence

from kgated_edge.evaluation.metrics import Quality


def chance_warnings(quality: Quality | None, labels: Sequence[str] | None) -> tuple[str, ...]:
    """A sentence where the results are no better than one constant answer; else nothing.

    For classes that is the most frequent class of the data, for one number the mean of the targets.
    Data of a single class are not judged: a constant answer is right on all of them.

    Args:
        quality: the metrics of a run; None without targets.
        labels: a name per class, or None.
    """
    if quality is None:
        return ()
    if quality.r2 is not None and quality.r2 <= 0 and quality.mae_per_output is None:
        return (
            f"R2 is {quality.r2:.3f}: the file is no better than always answering the mean of the "
            "targets of these data",
        )
    counts = [sum(row) for row in quality.confusion or ()]
    if quality.accuracy is None or sum(count > 0 for count in counts) < 2:
        return ()
    fraction = max(counts) / sum(counts)
    if quality.accuracy > fraction + 1e-9:
        return ()
    frequent = counts.index(max(counts))
    name = repr(labels[frequent]) if labels and frequent < len(labels) else str(frequent)
    return (
        f"accuracy {quality.accuracy:.4f} is no better than always answering class {name}, the "
        f"most frequent one of these data ({fraction:.4f})",
    )
