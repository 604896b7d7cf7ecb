"""The results of a live run as lines: numbers, decisions, labels, limits and times."""

from collections.abc import Callable
from typing import Any

import numpy as np

from kgated_edge.errors import EdgeError
from kgated_edge.evaluation.task_choice import canonical_task
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.tensor_spec import Array
from kgated_edge.runtime.batching import as_dict
from kgated_edge.text.sampling import are_probabilities

LIVE_TASKS = ("classification", "regression")


def is_classifier(manifest: Manifest, task: str | None) -> bool:
    """Whether the first output is over classes, and the largest is the decision."""
    first = manifest.outputs[0]
    task = canonical_task(task, LIVE_TASKS)
    if task == "classification" and first.shape[-1:] in ((), (1,)) and not manifest.is_binary:
        raise EdgeError(f"`task` is 'classification', the first output has the shape {first.shape}")
    if task is not None or manifest.labels is not None:
        return task != "regression"
    golden = manifest.golden.outputs[first.name]
    return "accuracy" in manifest.figures or (golden.shape[-1] > 1 and are_probabilities(golden))


def write_lines(
    write: Callable[[dict[str, Any]], None], arguments: tuple[Any, ...], count: int
) -> None:
    """Writes the first lines of a step; `arguments`: those of `_lines`."""
    for line in _lines(*arguments)[:count]:
        write(line)


def _lines(
    manifest: Manifest, step: int, result: Any, has_classes: bool, time_s: float | None
) -> list[dict[str, Any]]:
    """A line for each result of a step; all but the last have no time of their own in the input."""
    each, outputs = manifest.results_per_step, as_dict(manifest.outputs, result)
    if each == 1:
        return [_line(manifest, step, outputs, has_classes, time_s)]
    rows = [{name: array[n] for name, array in outputs.items()} for n in range(each)]
    first = (step - 1) * each + 1
    times = [*[None] * (each - 1), time_s]
    return [
        _line(manifest, first + n, row, has_classes, time, has_times=time_s is not None)
        for n, (row, time) in enumerate(zip(rows, times, strict=True))
    ]


def _line(
    manifest: Manifest,
    number: int,
    outputs: dict[str, Array],
    has_classes: bool,
    time_s: float | None,
    has_times: bool = False,
) -> dict[str, Any]:
    """The line of one result; with `has_times` its time is in the input, or unknown."""
    line: dict[str, Any] = {"step": number}
    if time_s is not None:
        line["time_s"] = time_s
    elif manifest.sample_period_s is not None and not has_times:
        line["time_s"] = round(number * manifest.frames_per_result * manifest.sample_period_s, 9)
    if has_classes:
        line |= _decision(manifest, outputs[manifest.outputs[0].name])
    if manifest.intervals is not None:
        low, high = manifest.intervals.bounds(outputs[manifest.outputs[0].name])
        line |= {"lower": _short_numbers(low), "upper": _short_numbers(high)}
    return line | {"outputs": {name: _short_numbers(array) for name, array in outputs.items()}}


def _decision(manifest: Manifest, scores: Array) -> dict[str, Any]:
    """The decision and its label; None for scores with NaN, the largest of which is not known."""
    decision: int | None = None
    if not np.isnan(scores).any():
        is_single = scores.size == 1
        decision = int(manifest.decide(scores) if is_single else scores.argmax() % scores.shape[-1])
    if manifest.labels is None:
        return {"decision": decision}
    return {"decision": decision, "label": None if decision is None else manifest.labels[decision]}


def _short_numbers(array: Array) -> Any:
    """The numbers of a float32 array in nested lists, with as few digits as identify each."""
    if array.ndim > 1:
        return [_short_numbers(row) for row in array]
    # NumPy writes the shortest text that float32 reads back; Python would write 17 digits.
    return [float(str(value)) for value in array]
