"""Run a day of audio through `events` and check that memory stays constant.

    python scripts/day_of_sound.py                 # 86,400 s at 16 kHz, tests/edge/fixtures
    python scripts/day_of_sound.py --hours 1 MODEL.tflite

The audio is noise of changing loudness, generated while it is read. The memory is measured after
each tenth; the first tenth is warm-up.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from kgated_edge import EdgeModel, EventSettings, EventStream, FieldMonitor, live_blocks
from kgated_edge.measure.monitor import resident_mib

FIXTURE = Path(__file__).parents[1] / "tests" / "edge" / "fixtures" / "speech.tflite"
RATE, PARTS, GROWTH_MIB = 16000, 10, 2.0


class Noise:
    """A binary stream of 16-bit samples: noise whose loudness changes every second."""

    def __init__(self, seconds: int) -> None:
        self._rng, self._left, self._rest = np.random.default_rng(0), seconds, b""

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end."""
        if not self._rest and self._left:
            self._left -= 1
            loudness = self._rng.uniform(0, 3000)
            samples = self._rng.integers(-1000, 1000, RATE) * loudness / 1000
            self._rest = samples.astype("<i2").tobytes()
        content, self._rest = self._rest[:size], self._rest[size:]
        return content


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 1 if memory grew."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", nargs="?", default=str(FIXTURE))
    parser.add_argument("--hours", type=float, default=24.0)
    options = parser.parse_args(arguments)
    model = EdgeModel(options.model)
    stream = EventStream(model, EventSettings(smoothing_s=0.1))
    monitor = FieldMonitor(model.manifest, lambda: model.state)
    seconds = round(options.hours * 3600)
    noise, events, marks = Noise(seconds), 0, []
    begin, per_part = time.perf_counter(), max(1, seconds * 100 // PARTS)
    # Bands from 0 Hz: the fixture has three.
    blocks = live_blocks(model.manifest, noise, "pcm", None, low_hz=0.0)  # type: ignore[arg-type]
    for step, frame in enumerate(blocks, 1):
        result = model.step(frame)
        events += len(stream.detector.step(result))
        monitor.watch(frame, result)
        if step % per_part == 0:
            monitor.report()
            marks.append(resident_mib())
            elapsed = time.perf_counter() - begin
            print(
                f"{step / 360_000:.2f} h, {elapsed:.0f} s, {events} events, {marks[-1]} MiB",
                flush=True,
            )
    known = [mark for mark in marks if mark is not None]
    grown = known[-1] - known[0] if known else 0.0
    print(f"memory grew by {grown:.2f} MiB after the first part, allowed are {GROWTH_MIB}")
    return 0 if grown <= GROWTH_MIB else 1


if __name__ == "__main__":
    sys.exit(main())
