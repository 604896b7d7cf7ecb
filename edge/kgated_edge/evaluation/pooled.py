"""Runs the sequences of a data set side by side, as sessions of a pool."""

from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

import numpy as np

from kgated_edge.evaluation.dataset import SequenceData
from kgated_edge.evaluation.metrics import Scorer
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.tensor_spec import Array
from kgated_edge.measure.latency import Nanoseconds
from kgated_edge.runtime.batching import as_dict, unwrap_single
from kgated_edge.runtime.results import steps_and_results
from kgated_edge.runtime.session_pool import SessionPool

DEFAULT_SESSIONS = 64


@dataclass(frozen=True)
class PooledRun:
    """Times of a run in a pool.

    Attributes:
        times: (steps,) of each session's step, until the call for all of them ends.
        times_per_session: (steps,) the call's time / sessions in it.
        sessions: the most in one call; None for steps of a single model.
    """

    times: Nanoseconds
    times_per_session: Nanoseconds
    sessions: int | None

    @classmethod
    def of_one(cls, times: Nanoseconds) -> "PooledRun":
        """The run of a single model."""
        return cls(times, times, None)

    def metrics(self) -> dict[str, Any]:
        """The entries of a `CheckResult`; None for steps of a single model."""
        each = None if self.sessions is None else float(self.times_per_session.mean()) / 1e3
        return {"pool_sessions": self.sessions, "us_per_session": each}


def run_in_pool(
    pool: SessionPool, data: SequenceData, scorer: Scorer | None, warmup_steps: int = 0
) -> PooledRun:
    """Runs all sequences from zero states, as many at once as the file has a signature for.

    Args:
        pool: of the file.
        data: the sequences.
        scorer: gets the results (steps, outputs) of each sequence.
        warmup_steps: untimed steps of sessions before the run.
    """
    size = max(pool.manifest.sessions, default=DEFAULT_SESSIONS)
    groups = [range(n, min(n + size, len(data))) for n in range(0, len(data), size)]
    for _ in range(-(-warmup_steps // size)):
        _run_group(pool, data, groups[0], None, first_only=True)
    calls = [call for group in groups for call in _run_group(pool, data, group, scorer)]
    durations, counts = (np.array(column, np.int64) for column in zip(*calls, strict=True))
    return PooledRun(
        np.repeat(durations, counts), np.repeat(durations // counts, counts), int(counts.max())
    )


def _run_group(
    pool: SessionPool,
    data: SequenceData,
    group: range,
    scorer: Scorer | None,
    first_only: bool = False,
) -> list[tuple[int, int]]:
    """(ns, sessions) of each call."""
    manifest = pool.manifest
    steps = [steps_and_results(manifest, data.sequence(n))[0] for n in group]
    sessions, calls = [pool.open() for _ in group], []
    first = manifest.outputs[0]
    results: list[list[Array]] = [[] for _ in group]
    for n in range(1 if first_only else max(map(len, steps))):
        ready = [k for k, blocks in enumerate(steps) if n < len(blocks)]
        chosen = [sessions[k] for k in ready]
        frames = _stacked(manifest, [steps[k][n] for k in ready])
        start = perf_counter_ns()
        outputs = pool.step(chosen, frames)
        calls.append((perf_counter_ns() - start, len(ready)))
        rows = as_dict(manifest.outputs, outputs)[first.name]
        for k, row in zip(ready, rows, strict=True):
            results[k].append(row.reshape(-1, first.size))
    if scorer is not None:
        for n, parts in zip(group, results, strict=True):
            all_rows = np.concatenate(parts)
            scorer.add(n, all_rows[: real_results(manifest, data, n, len(all_rows))])
    return calls


def _stacked(manifest: Manifest, blocks: list[Any]) -> Any:
    """One call's frames, (sessions, *block) by input."""
    rows = [as_dict(manifest.frames, block) for block in blocks]
    return unwrap_single({name: np.stack([row[name] for row in rows]) for name in rows[0]})


def real_results(manifest: Manifest, data: SequenceData, n: int, count: int) -> int:
    """The number of results of sequence n that are of real frames, not of filled steps."""
    if manifest.mode == "sequence" or manifest.results_per_step == 1:
        return count
    return min(count, int(data.lengths[n]) // manifest.frames_per_result)
