"""Runs a model on frames as they arrive, until the input ends."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter_ns
from typing import IO, Any

import numpy as np

from kgated_edge.errors import EdgeError
from kgated_edge.format.manifest import Manifest
from kgated_edge.ingest.logmel import LogMel
from kgated_edge.ingest.sources import blocks_of, frames_of
from kgated_edge.runtime.batching import as_dict
from kgated_edge.runtime.stream_model import EdgeModel
from kgated_edge.text.sampling import are_probabilities

LIVE_TASKS = ("classes", "numbers")
_BINS_PER_DECADE, _DECADES = 20, 8  # from 0.1 µs to 10 s


@dataclass(frozen=True)
class LiveResult:
    """Summary of a live run.

    Attributes:
        steps: steps run.
        held_frames: frames with NaN or inf that were replaced by the last good frame.
        ended: "end of input", "interrupted", "reader gone" (nobody reads the results any more), or
            "refused".
        error: why a frame was refused, with the number of steps before it; else None.
        compute_us_p50, compute_us_p99: time of one step, to 12%; None without a step.
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


class StreamingHistogram:
    """Step times of a run of any length in constant memory: counts in logarithmic bins."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS_PER_DECADE * _DECADES, np.int64)
        self._sum = self._max = 0

    def add(self, ns: int) -> None:
        """Adds a time."""
        place = int(_BINS_PER_DECADE * math.log10(max(ns, 100) / 100))
        self._counts[min(place, len(self._counts) - 1)] += 1
        self._sum += ns
        self._max = max(self._max, ns)

    def metrics(self) -> dict[str, float | None]:
        """The metrics `compute_us_*` of `LiveResult`."""
        total = int(self._counts.sum())
        if total == 0:
            return dict.fromkeys(f"compute_us_{name}" for name in ("p50", "p99", "max", "mean"))
        return {
            "compute_us_p50": self._quantile_us(0.5 * total),
            "compute_us_p99": self._quantile_us(0.99 * total),
            "compute_us_max": self._max / 1e3,
            "compute_us_mean": self._sum / total / 1e3,
        }

    def _quantile_us(self, count: float) -> float:
        place = int(np.searchsorted(self._counts.cumsum(), count))
        # The upper edge of the bin, or the maximum where that is lower.
        return min(10 ** ((place + 1) / _BINS_PER_DECADE) / 10, self._max / 1e3)


def live(
    model: EdgeModel,
    blocks: Iterator[Any],
    write: Callable[[dict[str, Any]], None],
    task: str | None = None,
) -> LiveResult:
    """Runs a model until the input ends, SIGINT, a refused frame, or a closed output.

    Args:
        model: it continues from its current state.
        blocks: the argument of each step, as from `live_blocks`.
        write: receives the result of each step: its number `step`; `time_s`, the time of its last
            frame, where the model has a sample period; `outputs` by name; and for a classifier the
            `decision`, the largest of the first output, with its `label` where it has one.
        task: "classes" or "numbers": whether the model is a classifier; None: by its file, which
            has labels, the float model's accuracy, or golden outputs that are probabilities.

    Raises:
        EdgeError: an unknown task, or "classes" for a model of one output.
    """
    times, steps, manifest, ended, error = (
        StreamingHistogram(),
        0,
        model.manifest,
        "end of input",
        None,
    )
    is_classifier = _is_classifier(manifest, task)
    try:
        for block in blocks:
            start = perf_counter_ns()
            result = model.step(block)
            times.add(perf_counter_ns() - start)
            steps += 1
            write(_line(manifest, steps, result, is_classifier))
    except KeyboardInterrupt:
        ended = "interrupted"
    except BrokenPipeError:
        ended = "reader gone"
    except EdgeError as refused:
        ended, error = "refused", f"after {steps} steps: {refused}"
    return LiveResult(steps, model.held_frames, ended, error, **times.metrics())


def live_blocks(
    manifest: Manifest, stream: IO[bytes], form: str, rate: int | None, **sound: Any
) -> Iterator[Any]:
    """The argument of each step of a model, read from a stream.

    Args:
        manifest: of a model with one input and a batch of 1.
        stream: binary.
        form: one of `FORMATS`.
        rate: samples per second of audio without a header; None: that of `LogMel`.
        sound: other arguments of `LogMel`.

    Raises:
        EdgeError: several inputs or a batch above 1, audio for a model of other frames, another
            frame period than the model's.
    """
    inputs = [frame.name for frame in manifest.frames]
    if len(inputs) > 1 or manifest.batch > 1:
        raise EdgeError(
            f"a stream of frames is for one input and a batch of 1, this model has {inputs} and "
            f"a batch of {manifest.batch}: run it from Python, with EdgeModel.step"
        )
    spec = manifest.frame
    is_vector = len(spec.shape) == 1 and spec.is_real
    if form in ("wav", "pcm") and not is_vector:
        raise EdgeError(f"audio becomes frames (mels,), this model takes {spec.shape}: use csv")

    def front_end(file_rate: int | None) -> LogMel:
        if file_rate is not None and rate is not None and file_rate != rate:
            raise EdgeError(
                f"`rate` is {rate}, the file's is {file_rate}: leave it out, or convert the file"
            )
        log_mel = LogMel(file_rate or rate or LogMel.rate, mels=spec.shape[0], **sound)
        period = manifest.sample_period_s
        hop, hop_s = log_mel.hop, log_mel.hop / log_mel.rate
        if period is not None and not math.isclose(hop_s, period, rel_tol=1e-3):
            raise EdgeError(
                f"{hop} samples at {log_mel.rate} per second are {hop_s:g} s, the "
                f"model's sample period is {period:g} s: set `hop` as in training"
            )
        return log_mel

    return blocks_of(frames_of(stream, form, spec, front_end), manifest.frames_per_step)


def _is_classifier(manifest: Manifest, task: str | None) -> bool:
    """Whether the first output is over classes, and the largest is the decision."""
    first = manifest.outputs[0]
    if task not in (None, *LIVE_TASKS):
        raise EdgeError(f"`task` must be one of {list(LIVE_TASKS)}, got {task!r}")
    if task == "classes" and first.shape[-1:] in ((), (1,)) and not manifest.is_binary:
        raise EdgeError(f"`task` is 'classes', the first output has the shape {first.shape}")
    if task is not None or manifest.labels is not None:
        return task != "numbers"
    golden = manifest.golden.outputs[first.name]
    return "accuracy" in manifest.figures or (golden.shape[-1] > 1 and are_probabilities(golden))


def _line(manifest: Manifest, step: int, result: Any, is_classifier: bool) -> dict[str, Any]:
    outputs = as_dict(manifest.outputs, result)
    line: dict[str, Any] = {"step": step}
    if manifest.sample_period_s is not None:
        line["time_s"] = round(step * manifest.frames_per_step * manifest.sample_period_s, 9)
    if is_classifier:
        first = outputs[manifest.outputs[0].name]
        decision = int(first.argmax()) % first.shape[-1]
        line["decision"] = decision = int(manifest.decide(first)) if first.size == 1 else decision
        if manifest.labels is not None:
            line["label"] = manifest.labels[decision]
    return line | {"outputs": {name: array.tolist() for name, array in outputs.items()}}
