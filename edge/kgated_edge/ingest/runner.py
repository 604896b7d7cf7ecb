"""Runs a model on frames as they arrive, until the input ends."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter_ns
from typing import IO, Any

import numpy as np

from kgated_edge.errors import EdgeError
from kgated_edge.format.manifest import Manifest
from kgated_edge.ingest.audio_options import front_end_for_audio
from kgated_edge.ingest.finite_steps import FiniteSteps, Warn
from kgated_edge.ingest.front_end import FrontEnd
from kgated_edge.ingest.input_counts import InputCounts
from kgated_edge.ingest.logmel import LogMel
from kgated_edge.ingest.result_lines import is_classifier, write_lines
from kgated_edge.ingest.sources import InputOptions, PartialBlock, blocks_of, frames_of
from kgated_edge.ingest.windows import WindowedModel
from kgated_edge.runtime.stream_model import EdgeModel

END_OF_INPUT, INTERRUPTED, READER_GONE, REFUSED = (
    "end of input",
    "interrupted",
    "reader gone",
    "refused",
)
Watch = Callable[[Any, Any, bool], None]
_BINS_PER_DECADE, _DECADES = 20, 8  # from 0.1 µs to 10 s


@dataclass(frozen=True)
class LiveResult:
    """Summary of a live run.

    Attributes:
        steps: steps run.
        held_frames: bad frames that were replaced by the last good frame.
        skipped_frames: bad frames that were dropped.
        bad_lines: lines of CSV that were no frame, among these frames.
        joined_lines: frames whose line had been cut in two.
        late_steps: steps that took longer than the deadline.
        ended: "end of input", "interrupted", "reader gone" (nobody reads the results any more), or
            "refused".
        error: why a frame was refused, with the number of steps before it; else None.
        compute_us_p50, compute_us_p99: time of one step, to 12%; None without a step.
        compute_us_max, compute_us_mean: exact.
        engine: what ran the model.
        not_finite_steps: steps with NaN or inf in the result or in the state; a state that is not
            finite, or internal, was reset after them.
    """

    steps: int
    held_frames: int
    skipped_frames: int
    bad_lines: int
    joined_lines: int
    late_steps: int
    ended: str
    error: str | None
    compute_us_p50: float | None
    compute_us_p99: float | None
    compute_us_max: float | None
    compute_us_mean: float | None
    engine: str = "litert"
    not_finite_steps: int = 0


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

    def metrics(self) -> dict[str, Any]:
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
    model: EdgeModel | WindowedModel,
    blocks: Iterator[Any],
    write: Callable[[dict[str, Any]], None],
    task: str | None = None,
    *,
    deadline_ms: float | None = None,
    every: int = 1,
    counts: InputCounts | None = None,
    watch: Watch | None = None,
    warn: Warn | None = None,
) -> LiveResult:
    """Runs a model until the input ends, SIGINT, a refused frame, or a closed output.

    Args:
        model: it continues from its current state.
        blocks: the argument of each step, as from `live_blocks`.
        write: receives each result: its number `step`, which counts results where a step has
            several; `time_s`, the time of its last frame, from the time column, or where the model
            has a sample period; `outputs` by name; for a classifier the `decision`, the largest of
            the first output, with its `label` where it has one; `lower` and `upper` limits of the
            first output where the file has intervals.
        task: "classification" or "regression", whether the model is a classifier; "classes" and
            "numbers" are older names. None: by its file, which has labels, the float model's
            accuracy, or golden outputs that are probabilities.
        deadline_ms: steps that take longer are counted as late.
        every: writes the result of every so many steps.
        counts: those of the input that `blocks` reads.
        watch: receives each step: its frame, its result, whether it was late.
        warn: receives a sentence at the first step whose result or state is not finite. After each
            such step a state that is not finite, or internal, is reset. `decision` is None where
            the result is NaN.

    Raises:
        EdgeError: an unknown task, or "classification" for a model of one output.
    """
    times, manifest, ended, error = StreamingHistogram(), model.manifest, END_OF_INPUT, None
    counts, steps, late_steps = counts or InputCounts(), 0, 0
    has_classes, finite_steps = is_classifier(manifest, task), FiniteSteps(model, counts, warn)
    try:
        for block in blocks:
            frames, count = _frames_and_count(manifest, block)
            result, is_late = _timed_step(model, frames, times, deadline_ms)
            steps, late_steps = steps + 1, late_steps + is_late
            finite_steps.take(frames, result)
            if watch is not None and result is not None:
                watch(frames, result, is_late)
            if result is not None and steps % every == 0:
                write_lines(write, (manifest, steps, result, has_classes, counts.time_s), count)
    except KeyboardInterrupt:
        ended = INTERRUPTED
    except BrokenPipeError:
        ended = READER_GONE
    except EdgeError as refused:
        ended, error = REFUSED, f"after {steps} steps: {refused}"
    return LiveResult(
        steps=steps,
        **counts.of_run(model.held_frames),
        late_steps=late_steps,
        ended=ended,
        error=error,
        **times.metrics(),
        engine=model.engine,
    )


def _frames_and_count(manifest: Manifest, block: Any) -> tuple[Any, int]:
    """The argument of a step, and how many of its results are of frames that were read."""
    if isinstance(block, PartialBlock):
        return block.frames, block.count // manifest.frames_per_result
    return block, manifest.results_per_step


def _timed_step(
    model: EdgeModel | WindowedModel,
    block: Any,
    times: StreamingHistogram,
    deadline_ms: float | None,
) -> tuple[Any, bool]:
    """The result of a step, and whether it was late; its time is added to `times`."""
    start = perf_counter_ns()
    result = model.step(block)
    duration = perf_counter_ns() - start
    times.add(duration)
    return result, deadline_ms is not None and duration > deadline_ms * 1e6


def live_blocks(
    manifest: Manifest,
    stream: IO[bytes],
    form: str,
    rate: int | None,
    *,
    options: InputOptions | None = None,
    **sound: Any,
) -> Iterator[Any]:
    """The argument of each step of a model, read from a stream.

    Args:
        manifest: of a model with one input and a batch of 1.
        stream: binary.
        form: one of `FORMATS`.
        rate: samples per second of the front end, to which audio of another rate is resampled;
            None: that of the model's front end, else of the file, else of `LogMel`.
        options: columns of CSV, what happens to bad lines and frames.
        sound: other arguments of `LogMel`; refused where they differ from the model's front end.

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

    def front_end(file_rate: int | None) -> LogMel | FrontEnd:
        return front_end_for_audio(manifest, file_rate, rate, **sound)

    if form in ("wav", "pcm") and manifest.front_end is not None:
        front_end(None)  # refuses options before the first byte is read
    options = options or InputOptions()
    options = options.for_model(manifest.feature_names, manifest.sample_period_s)
    frames = frames_of(stream, form, spec, front_end, options)
    return blocks_of(frames, manifest.frames_per_step, fills=manifest.results_per_step > 1)
