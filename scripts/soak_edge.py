"""Run ten million steps and check that memory stays constant and golden outputs bit-identical.

    python scripts/soak_edge.py                     # of tests/edge/fixtures/speech.tflite
    python scripts/soak_edge.py MODEL.tflite --steps 1000000

A model runs half of the steps; one frame in a thousand has a NaN and is refused. A pool of sessions
runs the other half. After each tenth of the steps the golden frames are replayed and the memory is
measured; the first tenth is warm-up.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from kgated_edge import EdgeError, EdgeModel, FrameError, SessionPool
from kgated_edge.measure.monitor import SystemMonitor

FIXTURE = Path(__file__).parents[1] / "tests" / "edge" / "fixtures" / "speech.tflite"
PARTS, SESSIONS, BAD_EVERY = 10, 100, 1000
GROWTH_MIB = 1.0


@dataclass(frozen=True)
class Mark:
    """Measurements after a part of the steps: memory, time per step, golden outputs unchanged."""

    steps: int
    rss_mib: float | None
    step_us: float
    unchanged: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 1 if memory grew or a golden output changed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "model", nargs="?", type=Path, default=FIXTURE, help="model file with one input"
    )
    parser.add_argument(
        "--steps", type=int, default=10_000_000, help="total number of steps (10000000)"
    )
    options = parser.parse_args(arguments)
    failed = []
    for name, soak in (("model", model_soak), ("pool", pool_soak)):
        marks = run(*soak(options.model), options.steps // 2)
        for mark in marks:
            memory = "hidden" if mark.rss_mib is None else f"{mark.rss_mib:.2f} MiB"
            same = "unchanged" if mark.unchanged else "CHANGED"
            print(f"{name:<6} {mark.steps:>9} steps  {mark.step_us:6.2f} us  {memory}  {same}")
        failed += [f"{name}: {reason}" for reason in failures(marks)]
    print("FAIL: " + "; ".join(failed) if failed else "PASS")
    return 1 if failed else 0


def run(
    steps: Callable[[int], None], golden: Callable[[], dict[str, Any]], count: int
) -> list[Mark]:
    """Run `count` steps in ten parts, with measurements after each.

    Args:
        steps: a function that runs a number of steps.
        golden: a function that returns the outputs for the golden frames, by name.
        count: the total number of steps.
    """
    monitor, expected, marks = SystemMonitor(time.perf_counter_ns), golden(), []
    for part in range(PARTS):
        start = time.perf_counter()
        steps(count // PARTS)
        us = (time.perf_counter() - start) * 1e6 / (count // PARTS)
        outputs = golden()
        same = all(np.array_equal(outputs[name], array) for name, array in expected.items())
        monitor.readings.clear()
        monitor.read()
        rss = monitor.readings[0].rss_mib
        marks.append(Mark((part + 1) * (count // PARTS), rss, us, same))
    return marks


def failures(marks: Sequence[Mark]) -> list[str]:
    """A sentence if memory grew after the first mark, and one if outputs changed."""
    reasons = []
    memory = [mark.rss_mib for mark in marks if mark.rss_mib is not None]
    if memory and max(memory) - memory[0] > GROWTH_MIB:
        reasons.append(f"memory grew from {memory[0]:.2f} to {max(memory):.2f} MiB")
    if not all(mark.unchanged for mark in marks):
        reasons.append("golden outputs changed")
    return reasons


def model_soak(path: Path) -> tuple[Callable[[int], None], Callable[[], dict[str, Any]]]:
    """One model, a frame at a time."""
    model = EdgeModel(path)
    frames, bad = _frames(model.manifest.frame.shape, BAD_EVERY)

    def steps(count: int) -> None:
        for n in range(count):
            model.step(frames[n % BAD_EVERY])
            if n % BAD_EVERY == 0:
                try:
                    model.step(bad)
                except FrameError:
                    continue
                raise EdgeError("a frame with NaN was taken")

    return steps, model.golden_outputs


def pool_soak(path: Path) -> tuple[Callable[[int], None], Callable[[], dict[str, Any]]]:
    """Sessions of a pool, one step of each at a time; another session runs the golden frames."""
    pool = SessionPool(path)
    sessions = [pool.open() for _ in range(SESSIONS)]
    frames, _ = _frames(pool.manifest.frame.shape, SESSIONS)
    (name,) = pool.manifest.golden.frames
    golden = pool.manifest.golden.frames[name]

    def steps(count: int) -> None:
        for _ in range(max(1, count // SESSIONS)):
            pool.step(sessions, frames)

    def outputs() -> dict[str, Any]:
        session = pool.open()
        return {"outputs": np.array([session.step(frame) for frame in golden])}

    return steps, outputs


def _frames(shape: tuple[int, ...], count: int) -> tuple[Any, Any]:
    """Frames of noise (count, *shape), and a frame of NaN."""
    noise = np.random.default_rng(0).normal(size=(count, *shape)).astype(np.float32)
    return noise, np.full(shape, np.nan, np.float32)


if __name__ == "__main__":
    sys.exit(main())
