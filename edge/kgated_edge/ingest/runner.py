"""Runs a model on frames as they come, for as long as they come."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter_ns
from typing import IO, Any

import numpy as np

from kgated_edge.errors import EdgeError
from kgated_edge.evaluation.metrics import are_probabilities
from kgated_edge.format.manifest import Manifest
from kgated_edge.ingest.logmel import LogMel
from kgated_edge.ingest.sources import blocks_of, frames_of
from kgated_edge.runtime.batching import as_dict
from kgated_edge.runtime.stream_model import EdgeModel

LIVE_TASKS = ("classes", "numbers")
_BINS_PER_DECADE, _DECADES = 20, 8  # from 0.1 µs to 10 s


@dataclass(frozen=True)
class LiveResult:
    """What a live run did.

    Attributes:
        steps: steps run.
        held_frames: frames with NaN or inf in whose place the last good one was taken.
        ended: "end of input", "interrupted", "reader gone", whoever read the results, or "refused".
        error: why a frame was refused, with the number of steps before it; else None.
        compute_us_p50, compute_us_p99: time of one step, to 12%; None without one.
        compute_us_max, compute_us_mean: exact.
    """

    steps: int
    held_frames: int
    ended: str
    error: str | None
    compute_us_p50: float | None
    compute_us_p99: float | None
    compute_us_max: float | None
    compute_us_mean: float | None


class Tally:
    """Times without end in a fixed memory: counts in logarithmic bins."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS_PER_DECADE * _DECADES, np.int64)
        self._sum = self._most = 0

    def add(self, ns: int) -> None:
        """Counts one."""
        place = int(_BINS_PER_DECADE * math.log10(max(ns, 100) / 100))
        self._counts[min(place, len(self._counts) - 1)] += 1
        self._sum += ns
        self._most = max(self._most, ns)

    def figures(self) -> dict[str, float | None]:
        """The figures `compute_us_*` of `LiveResult`."""
        total = int(self._counts.sum())
        if total == 0:
            return dict.fromkeys(f"compute_us_{what}" for what in ("p50", "p99", "max", "mean"))
        return {
            "compute_us_p50": self._quantile_us(0.5 * total),
            "compute_us_p99": self._quantile_us(0.99 * total),
            "compute_us_max": self._most / 1e3,
            "compute_us_mean": self._sum / total / 1e3,
        }

    def _quantile_us(self, count: float) -> float:
        place = int(np.searchsorted(self._counts.cumsum(), count))
        # The upper edge of the bin, but no time was longer than the longest.
        return min(10 ** ((place + 1) / _BINS_PER_DECADE) / 10, self._most / 1e3)


def live(
    model: EdgeModel,
    blocks: Iterator[Any],
    write: Callable[[dict[str, Any]], None],
    task: str | None = None,
) -> LiveResult:
    """Runs a model on what comes, until nothing does, SIGINT, a frame is refused, or nobody reads.

    Args:
        model: its state goes on from where it is.
        blocks: what each step takes, as `live_blocks` gives it.
        write: takes the result of each step: its number, `step`; the time of its last frame,
            `time_s`, where the model knows its sample period; `outputs` by name; and of a
            classifier the `decision`, the largest of the first output, with its `label` where it
            has one.
        task: "classes" or "numbers": whether it is a classifier; None: by its file, which has
            labels, the float model's accuracy, or golden outputs that are probabilities.

    Raises:
        EdgeError: no such task, or one other than "numbers" for a model of one output.
    """
    tally, steps, manifest, ended, error = Tally(), 0, model.manifest, "end of input", None
    decides = _decides(manifest, task)
    try:
        for block in blocks:
            begun = perf_counter_ns()
            result = model.step(block)
            tally.add(perf_counter_ns() - begun)
            steps += 1
            write(_line(manifest, steps, result, decides))
    except KeyboardInterrupt:
        ended = "interrupted"
    except BrokenPipeError:
        ended = "reader gone"
    except EdgeError as refused:
        ended, error = "refused", f"after {steps} steps: {refused}"
    return LiveResult(steps, model.held_frames, ended, error, **tally.figures())


def live_blocks(
    manifest: Manifest, stream: IO[bytes], form: str, rate: int | None, **sound: Any
) -> Iterator[Any]:
    """What each step of a model takes, out of a stream.

    Args:
        manifest: of the model, which has one input and a batch of 1.
        stream: binary.
        form: one of `FORMATS`.
        rate: of sound without a file's head, in samples per second; None: that of `LogMel`.
        sound: other arguments of `LogMel`.

    Raises:
        EdgeError: a model of several inputs or rows, sound for a model of other frames, another
            frame period than the model's.
    """
    inputs = [frame.name for frame in manifest.frames]
    if len(inputs) > 1 or manifest.batch > 1:
        raise EdgeError(
            f"a stream of frames is for one input and a batch of 1, this model has {inputs} and "
            f"a batch of {manifest.batch}: run it from Python, by EdgeModel.step"
        )
    spec = manifest.frame
    is_vector = len(spec.shape) == 1 and spec.is_real
    if form in ("wav", "pcm") and not is_vector:
        raise EdgeError(f"sound becomes frames (mels,), this model takes {spec.shape}: use csv")

    def front_end(found: int | None) -> LogMel:
        if found is not None and rate is not None and found != rate:
            raise EdgeError(f"`rate` is {rate}, the file's is {found}: leave it out, or convert it")
        made = LogMel(found or rate or LogMel.rate, mels=spec.shape[0], **sound)
        period = manifest.sample_period_s
        if period is not None and not math.isclose(made.hop / made.rate, period, rel_tol=1e-3):
            raise EdgeError(
                f"{made.hop} samples at {made.rate} per second are {made.hop / made.rate:g} s, the "
                f"model's sample period is {period:g} s: set `hop` as in training"
            )
        return made

    return blocks_of(frames_of(stream, form, spec, front_end), manifest.frames_per_step)


def _decides(manifest: Manifest, task: str | None) -> bool:
    """Whether the first output stands for classes, of which the largest is meant."""
    first = manifest.outputs[0]
    if task not in (None, *LIVE_TASKS):
        raise EdgeError(f"`task` must be one of {list(LIVE_TASKS)}, got {task!r}")
    if task == "classes" and first.shape[-1:] in ((), (1,)):
        raise EdgeError(f"`task` is 'classes', the first output has the shape {first.shape}")
    if task is not None or manifest.labels is not None:
        return task != "numbers"
    golden = manifest.golden.outputs[first.name]
    return "accuracy" in manifest.figures or (golden.shape[-1] > 1 and are_probabilities(golden))


def _line(manifest: Manifest, step: int, result: Any, decides: bool) -> dict[str, Any]:
    outputs = as_dict(manifest.outputs, result)
    line: dict[str, Any] = {"step": step}
    if manifest.sample_period_s is not None:
        line["time_s"] = round(step * manifest.frames_per_step * manifest.sample_period_s, 9)
    if decides:
        first = outputs[manifest.outputs[0].name]
        line["decision"] = decision = int(first.argmax()) % first.shape[-1]
        if manifest.labels is not None:
            line["label"] = manifest.labels[decision]
    return line | {"outputs": {name: array.tolist() for name, array in outputs.items()}}
