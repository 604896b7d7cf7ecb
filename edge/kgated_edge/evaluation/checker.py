"""Measures speed and quality of a model on this device, and checks them against limits."""

from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from kgated_edge.errors import DataError, EdgeError
from kgated_edge.evaluation.arrays import Data
from kgated_edge.evaluation.chance import chance_warnings
from kgated_edge.evaluation.dataset import SequenceData
from kgated_edge.evaluation.finite_results import FiniteResults
from kgated_edge.evaluation.golden import replay_golden
from kgated_edge.evaluation.info_check import check_info, with_labels_of
from kgated_edge.evaluation.limits import Limits, override_limits, read_limits
from kgated_edge.evaluation.metrics import Scorer
from kgated_edge.evaluation.pooled import PooledRun, real_results, run_in_pool
from kgated_edge.evaluation.results import CheckResult, SelftestResult
from kgated_edge.evaluation.tasks import check_fit, make_scorer
from kgated_edge.evaluation.text_data import load_for
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.reader import read_manifest
from kgated_edge.format.verified_file import ModelPath, size_of
from kgated_edge.measure import latency
from kgated_edge.measure.monitor import peak_memory_mib
from kgated_edge.runtime.batching import as_dict
from kgated_edge.runtime.engines import LITERT
from kgated_edge.runtime.open import open_model
from kgated_edge.runtime.sequence_model import SequenceModel
from kgated_edge.runtime.session_pool import SessionPool
from kgated_edge.runtime.stream_model import EdgeModel


def selftest(path: ModelPath, num_threads: int = 1, engine: str = LITERT) -> SelftestResult:
    """Replays the golden frames of a model file on this device and compares the outputs.

    Args:
        path: a `.tflite` file made by `kgated convert`.
        num_threads: threads of the interpreter.
        engine: "litert" or "native", as of `EdgeModel`.

    Raises:
        ManifestError: the file cannot be run.
        EdgeError: engine="native", and there is no library for the file and this CPU.
    """
    return replay_golden(open_model(path, num_threads, engine=engine), path)


def check(
    path: ModelPath,
    data: Data,
    *,
    task: str | None = None,
    limits: str | Path | Limits | None = None,
    deadline_ms: float | None = None,
    min_accuracy: float | None = None,
    max_misses: int | None = None,
    max_mae: float | None = None,
    max_rmse: float | None = None,
    num_threads: int = 1,
    warmup_steps: int = 200,
    pool: bool = False,
    engine: str = LITERT,
) -> CheckResult:
    """Runs every sequence frame by frame from zero state, and times each step.

    For a whole-sequence model, each sequence is one step.

    Args:
        path: a `.tflite` file made by `kgated convert`.
        data: an `.npz` file, `SequenceData`, or arrays by name: `x`, or an array for each input,
            optionally `lengths` and `y`; see `as_sequences`. `x` may be texts where the file has
            a vocabulary.
        task: how outputs are scored: "classification", "frame-classification", "multi-label",
            "regression" or "next-token"; "classes", "frames", "numbers" and "text" are older names.
            None: by `y` and the model.
        limits: a TOML file of limits, or `Limits`.
        deadline_ms: longest time of one step. This and the next four override `limits`.
        min_accuracy: minimum fraction of correct decisions, 0..1.
        max_misses: how many steps may exceed the deadline; None for none.
        max_mae: largest mean absolute error, in units of the targets.
        max_rmse: largest root of the mean squared error, in the same units.
        num_threads: threads of the interpreter.
        warmup_steps: untimed steps before the run.
        pool: whether sequences run side by side, as sessions of a `SessionPool`; of a stream.
        engine: "litert" or "native", as of `EdgeModel`.

    Raises:
        ManifestError: the file cannot be run.
        DataError: the data are invalid, do not fit the model, or fit several tasks.
        EdgeError: a limit out of range, a limit on a metric that the run does not have, or
            `max_misses` without a deadline, or engine="native" without a library.
    """
    limits = _limits(
        limits,
        deadline_ms=deadline_ms,
        min_accuracy=min_accuracy,
        max_misses=max_misses,
        max_mae=max_mae,
        max_rmse=max_rmse,
    )
    # All input is checked before an interpreter exists, since that writes to stderr.
    manifest = read_manifest(path)
    sequences, scorer = checked_inputs(manifest, data, task)
    _check_metrics(manifest, scorer, limits)
    _check_pool(manifest, pool)
    model = open_model(path, num_threads, engine=engine)
    golden = replay_golden(model, path)
    scorer = None if scorer is None else FiniteResults(scorer)
    if pool:
        sessions = SessionPool(path, num_threads, engine=engine)
        run = run_in_pool(sessions, sequences, scorer, warmup_steps)
    else:
        _warm_up(model, sequences, warmup_steps)
        run = PooledRun.of_one(run_sequences(model, sequences, scorer))
    sizes = {"model_bytes": size_of(path), "num_threads": num_threads}
    return _result(manifest, limits, sequences, run, scorer, golden, sizes)


def _check_pool(manifest: Manifest, pool: bool) -> None:
    if pool and manifest.mode != "stream":
        raise EdgeError("`pool` is for streams, this file takes whole sequences: leave it out")


def _limits(limits: str | Path | Limits | None, **overrides: float | None) -> Limits:
    """The limits of the file or the caller, with the single limits in their place."""
    if not isinstance(limits, Limits):
        limits = Limits() if limits is None else read_limits(limits)
    limits = override_limits(limits, **overrides)
    if limits.max_misses is not None and limits.deadline_ms is None:
        raise EdgeError("`max_misses` needs a deadline: give `deadline_ms` too")
    return limits


def _result(
    manifest: Manifest,
    limits: Limits,
    sequences: SequenceData,
    run: PooledRun,
    scorer: FiniteResults | None,
    golden: SelftestResult,
    sizes: dict[str, Any],
) -> CheckResult:
    """The result of a run, with the limits that it failed."""
    deadline_ms, times = limits.deadline_ms, run.times
    quality = None if scorer is None else scorer.quality()
    misses = None if deadline_ms is None else int((times > deadline_ms * 1e6).sum())
    metrics = latency.metrics(times) | {"model_bytes": sizes["model_bytes"]}
    metrics |= {} if quality is None else vars(quality)
    failures = golden.failures + limits.failures(metrics, manifest.figures)
    failures += limits.missed_deadlines(misses, len(times))
    return CheckResult(
        sequences=len(sequences),
        steps=len(times),
        **sizes,
        accuracy=None if quality is None else quality.accuracy,
        min_accuracy=limits.min_accuracy,
        quality=quality,
        labels=manifest.labels,
        float_figures=dict(manifest.figures),
        **_golden_metrics(golden),
        **latency.metrics(times),
        latency_histogram=latency.histogram(times),
        latency_timeline=latency.timeline(times),
        deadline_ms=deadline_ms,
        deadline_misses=misses,
        max_misses=limits.max_misses or 0,
        sample_period_s=manifest.sample_period_s,
        real_time_factor=_real_time_factor(manifest, sequences, run.times_per_session),
        peak_memory_mib=peak_memory_mib(),
        **run.metrics(),
        passed=not failures,
        failures=failures,
        warnings=(scorer.warnings() if scorer else ()) + chance_warnings(quality, manifest.labels),
    )


def _golden_metrics(golden: SelftestResult) -> dict[str, Any]:
    """The entries of a `CheckResult` that its self-test gives."""
    return {
        "golden_max_abs_error": golden.golden_max_abs_error,
        "golden_tolerance": golden.golden_tolerance,
        "golden_ok": golden.passed,
        "engine": golden.engine,
    }


def _real_time_factor(
    manifest: Manifest, sequences: SequenceData, times: latency.Nanoseconds
) -> float | None:
    """Time of the steps divided by the duration of their frames."""
    if manifest.sample_period_s is None:
        return None
    frames = len(times) * manifest.frames_per_step
    if manifest.mode == "sequence":
        frames = int(sequences.lengths.sum())
    return float(times.sum()) / 1e9 / (frames * manifest.sample_period_s)


def checked_inputs(
    manifest: Manifest, data: Data, task: str | None
) -> tuple[SequenceData, Scorer | None]:
    """The sequences and the scorer, checked against the model."""
    sequences = load_for(manifest, data)
    try:
        check_fit(manifest, sequences)
        check_info(manifest, sequences)
        sequences = with_labels_of(manifest, sequences)
        return sequences, make_scorer(manifest, sequences, task)
    except DataError as error:
        if isinstance(data, str | Path):
            raise DataError(f"{data}: {error}") from None
        raise


def _check_metrics(manifest: Manifest, scorer: Scorer | None, limits: Limits) -> None:
    """Checks that every limit is on a metric that the run will have."""
    known = set() if scorer is None else set(scorer.metrics)
    for name in sorted(limits.limited_metrics() - known):
        if scorer is None:
            raise DataError(f"there is no `y` to compute {name} from: save it, or drop the limit")
        raise EdgeError(f"a limit is on {name}, this run has {sorted(known)}: drop the limit")
    for name in sorted(set(limits.worse_than_float or ()) - set(manifest.figures)):
        raise EdgeError(
            f"a limit compares {name} with the float model, whose manifest holds "
            f"{sorted(manifest.figures)}: convert with --figure {name}=VALUE, or drop it"
        )


def _warm_up(model: EdgeModel | SequenceModel, data: SequenceData, steps: int) -> None:
    for block in islice(cycle(model.cut(data.sequence(0))), steps):
        model.step(block)


def run_sequences(
    model: EdgeModel | SequenceModel, data: SequenceData, scorer: Scorer | None
) -> latency.Nanoseconds:
    """Times (steps,) of all steps; the scorer gets the results (steps, outputs) per sequence."""
    first, times = model.manifest.outputs[0], []
    for n in range(len(data)):
        model.reset()
        blocks = model.cut(data.sequence(n))
        times.append(np.empty(len(blocks), np.int64))
        results = latency.time_steps(model.step, blocks, times[-1])
        if scorer is not None:
            arrays = [as_dict(model.manifest.outputs, result)[first.name] for result in results]
            rows = np.concatenate([array.reshape(-1, first.size) for array in arrays])
            scorer.add(n, rows[: real_results(model.manifest, data, n, len(rows))])
    return np.concatenate(times)
