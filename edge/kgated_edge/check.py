"""Is this model fast and accurate enough on this device? As numbers, and as yes or no."""

import sys
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from kgated_edge import latency
from kgated_edge.blocks import alone, by_name, cut
from kgated_edge.data import SequenceData, load_npz
from kgated_edge.errors import DataError
from kgated_edge.judge import Labels, Limits, check_fit, hits, labels_of
from kgated_edge.manifest import Manifest, read_manifest
from kgated_edge.model import EdgeModel
from kgated_edge.results import CheckResult, SelftestResult


def selftest(path: str | Path, num_threads: int = 1) -> SelftestResult:
    """Replays the golden frames of a model file on this device.

    Args:
        path: a `.tflite` file made by `kgated convert`.
        num_threads: threads of the interpreter.

    Raises:
        ManifestError: the file cannot be run.
    """
    return _replay(EdgeModel(path, num_threads))


def check(
    path: str | Path,
    data: str | Path | SequenceData,
    *,
    deadline_ms: float | None = None,
    min_accuracy: float | None = None,
    max_misses: int = 0,
    num_threads: int = 1,
    warmup_steps: int = 200,
) -> CheckResult:
    """Runs every sequence frame by frame from zero state, and times each step.

    Args:
        path: a `.tflite` file made by `kgated convert`.
        data: an `.npz` file, or sequences.
        deadline_ms: the longest that one step may take, in milliseconds.
        min_accuracy: least share of right decisions, 0..1; the data must then have `y`.
        max_misses: how many steps may take longer than the deadline.
        num_threads: threads of the interpreter.
        warmup_steps: steps run beforehand, untimed.

    Raises:
        ManifestError: the file cannot be run.
        DataError: the data are bad, or do not fit the model.
        EdgeError: a limit outside its range.
    """
    limits = Limits(deadline_ms, max_misses, min_accuracy)
    # All input is looked at before an interpreter exists: it writes lines of its own to stderr.
    manifest = read_manifest(path)
    sequences, labels = _inputs(manifest, data, limits)
    model = EdgeModel(path, num_threads)
    golden = _replay(model)
    _warm_up(model, sequences, warmup_steps)
    times, decisions = _run(model, sequences)
    size = manifest.frames_per_step
    accuracy = None if labels is None else hits(labels, decisions, size)
    misses = None if deadline_ms is None else int((times > deadline_ms * 1e6).sum())
    failures = golden.failures + limits.failures(accuracy, misses, len(times))
    period = manifest.sample_period_s
    return CheckResult(
        sequences=len(sequences),
        steps=len(times),
        num_threads=num_threads,
        model_bytes=Path(path).stat().st_size,
        accuracy=accuracy,
        min_accuracy=min_accuracy,
        golden_max_abs_error=golden.golden_max_abs_error,
        golden_tolerance=golden.golden_tolerance,
        golden_ok=golden.passed,
        **latency.figures(times),
        latency_histogram=latency.histogram(times),
        deadline_ms=deadline_ms,
        deadline_misses=misses,
        max_misses=max_misses,
        sample_period_s=period,
        real_time_factor=None if period is None else float(times.mean()) / 1e9 / (size * period),
        peak_memory_mib=peak_memory_mib(),
        passed=not failures,
        failures=failures,
    )


def peak_memory_mib() -> float | None:
    """The largest memory that this process held so far, in MiB; None where the system hides it."""
    try:
        # Linux's ru_maxrss starts from what the process that started this one held; VmHWM does not.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    except OSError:
        pass
    try:
        from resource import RUSAGE_SELF, getrusage
    except ImportError:
        return None
    peak = getrusage(RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _inputs(
    manifest: Manifest, data: str | Path | SequenceData, limits: Limits
) -> tuple[SequenceData, Labels | None]:
    """The sequences, and their labels where there are any; all fit the model."""
    if isinstance(data, SequenceData):
        return data, _labels(manifest, data, limits)
    names = [frame.name for frame in manifest.frames]
    sequences = load_npz(data, names if len(names) > 1 else ())
    try:
        return sequences, _labels(manifest, sequences, limits)
    except DataError as error:
        raise DataError(f"{data}: {error}") from None


def _labels(manifest: Manifest, data: SequenceData, limits: Limits) -> Labels | None:
    check_fit(manifest, data)
    labels = labels_of(manifest, data)
    if labels is None and limits.min_accuracy is not None:
        raise DataError("there is no `y` to judge accuracy by: save it, or drop the limit")
    return labels


def _replay(model: EdgeModel) -> SelftestResult:
    golden = model.manifest.golden
    model.reset()
    found = by_name(model.manifest.outputs, model.run(alone(golden.frames)))
    model.reset()
    differences = [found[n].astype(np.float64) - array for n, array in golden.outputs.items()]
    # Written so that NaN stays, and fails.
    error = float(np.max([np.abs(one).max() for one in differences]))
    passed = bool(error <= golden.tolerance)
    failure = f"golden outputs differ by {error:.3g}, allowed are {golden.tolerance:.3g}"
    count = len(next(iter(golden.frames.values())))
    return SelftestResult(count, error, golden.tolerance, passed, () if passed else (failure,))


def _blocks(manifest: Manifest, data: SequenceData, n: int) -> list[Any]:
    return cut(manifest.frames, manifest.frames_per_step, data.sequence(n))


def _warm_up(model: EdgeModel, data: SequenceData, steps: int) -> None:
    for block in islice(cycle(_blocks(model.manifest, data, 0)), steps):
        model.step(block)


def _run(model: EdgeModel, data: SequenceData) -> tuple[latency.Nanoseconds, list[Labels]]:
    """Time of each step, and per sequence the index of each step's largest output."""
    first, decisions = model.manifest.outputs[0], []
    times = np.empty(int((data.lengths // model.manifest.frames_per_step).sum()), np.int64)
    done = 0
    for n in range(len(data)):
        model.reset()
        blocks = _blocks(model.manifest, data, n)
        results = latency.time_steps(model.step, blocks, times[done : done + len(blocks)])
        firsts = [by_name(model.manifest.outputs, one)[first.name] for one in results]
        decisions.append(np.reshape(firsts, (len(blocks), -1)).argmax(-1))
        done += len(blocks)
    return times, decisions
