"""Accuracy of `kgated train` with default options on few recordings, beside a linear model.

Each data set has three classes that differ clearly. The accuracy is that of 60 other sequences, of
the means over the seeds: with one pass per epoch (`--batch-size 32`), with the defaults, and of the
nearest class in the mean and deviation of each feature. With `--streaming` the recordings change
between the classes, each frame has a label, the accuracy is that of the frames of 20 others, and
the linear model decides by each frame. With `--validation` as many further recordings are the
validation data; without it a fifth of the recordings is.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from kgated_edge.evaluation.dataset import SequenceData

from kgated.data import is_real, pad, save_npz, zero_padded
from kgated.models import train_classifier, train_streaming
from kgated.models.chance import nearest_frame_means, nearest_means
from kgated.training import Plan

Array = np.ndarray
CLASSES, TEST, STREAM_STEPS = 3, 60, 90


def acceleration(rng: np.random.Generator, label: int, steps: int) -> Array:
    """Rest, walk and run by a sensor of acceleration, with 9.81 on one axis."""
    frequency, size = [(0.0, 0.0), (2.0, 1.5), (4.0, 6.0)][label]
    phase = rng.uniform(0, 2 * np.pi)
    angle = 2 * np.pi * frequency * np.exp(rng.normal(0, 0.1)) * np.arange(steps) / 50 + phase
    size *= np.exp(rng.normal(0, 0.2))
    waves = [0.5 * np.sin(angle), 0.3 * np.cos(angle), np.sin(angle + 1)]
    x = size * np.stack(waves, axis=1) + [0.0, 0.0, 9.81]
    return np.asarray(x + rng.normal(0, 0.1, x.shape) + rng.normal(0, 0.2, 3))


def bands(rng: np.random.Generator, label: int, steps: int) -> Array:
    """Energies in 40 bands of a sound at one of three pitches."""
    centre = [8, 18, 30][label] + rng.normal()
    bump = 8 * np.exp(-0.5 * ((np.arange(40) - centre) / 2) ** 2)
    return np.asarray(bump - 12 + rng.normal(size=(steps, 40)))


def order(rng: np.random.Generator, label: int, steps: int) -> Array:
    """Rising, falling, and falling before rising: the means of the first two are equal."""
    time = np.linspace(0, 1, steps)
    x = [time, 1 - time, np.abs(2 * time - 1)][label]
    return np.asarray(5 + x[:, None] * [1.0, 2.0] + rng.normal(0, 0.2, (steps, 2)))


def scales(rng: np.random.Generator, label: int, steps: int) -> Array:
    """Levels in scales of 0.001 to 1000 with offsets, and a constant feature."""
    x = rng.normal(size=(steps, 6)) + 2 * np.eye(6)[label]
    x = x * [1e-3, 1e-2, 1, 10, 1e3, 1] + [1, 5, 9.81, 1000, -500, 0]
    return np.concatenate([x, np.full((steps, 1), 7.0)], axis=1)


KINDS: dict[str, tuple[Callable[..., Array], int]] = {
    "scales": (scales, 40),
    "bands": (bands, 60),
    "order": (order, 200),
    "acceleration, 250 frames": (acceleration, 250),
    "acceleration, 500 frames": (acceleration, 500),
}


def pulses(rng: np.random.Generator, steps: int) -> tuple[Array, Array]:
    """A pulse of one feature begins a section of its class: the frames after it are only noise."""
    x, y, begin, label = rng.normal(0, 0.3, (steps, 3)), np.zeros(steps, np.int64), 0, 0
    while begin < steps:
        label = (label + int(rng.integers(1, CLASSES))) % CLASSES
        x[begin, label] += 3.0
        end = begin + int(rng.integers(12, 20))
        y[begin:end], begin = label, end
    return x, y


def sections(
    draw: Callable[..., Array], rng: np.random.Generator, steps: int
) -> tuple[Array, Array]:
    """Sections of a kind, each of another class than the one before."""
    parts, y, label = [], np.zeros(0, np.int64), 0
    while len(y) < steps:
        label = (label + int(rng.integers(1, CLASSES))) % CLASSES
        parts.append(draw(rng, label, int(rng.integers(15, 22))))
        y = np.append(y, np.full(len(parts[-1]), label))
    return np.concatenate(parts)[:steps], y[:steps]


STREAMS: dict[str, Callable[[np.random.Generator, int], tuple[Array, Array]]] = {
    "pulses": pulses,
    "bands": partial(sections, bands),
    "acceleration": partial(sections, acceleration),
}


def streams(kind: str, count: int, seed: int) -> SequenceData:
    """Recordings of 63 to 90 frames, with a label per frame."""
    rng = np.random.default_rng(seed)
    drawn = [STREAMS[kind](rng, int(rng.uniform(0.7, 1) * STREAM_STEPS)) for _ in range(count)]
    data = pad([x.astype(np.float32) for x, _ in drawn], np.zeros(count))
    y = np.zeros(data.x.shape[:2], np.int64)
    for row, (_, labels) in zip(y, drawn, strict=True):
        row[: len(labels)] = labels
    return replace(data, y=y)


def measure_stream(
    kind: str, count: int, seed: int, batch_size: int | None, has_validation: bool = False
) -> float:
    """Accuracy of one training with `--streaming` on the frames of other recordings."""
    train, validation, test = (
        streams(kind, n, s) for n, s in ((count, seed), (count, 500 + seed), (20, 1000 + seed))
    )
    keras.backend.clear_session()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        save_npz(folder / "d.npz", train)
        save_npz(folder / "v.npz", validation)
        train_streaming(
            folder / "d.npz",
            folder / "m.keras",
            validation=folder / "v.npz" if has_validation else None,
            plan=Plan(batch_size=batch_size, seed=seed),
            quiet=True,
        )
        model = keras.saving.load_model(folder / "m.keras", compile=False)
    decisions = model.predict(test.x, verbose=0).argmax(axis=-1)
    return float((decisions == test.y)[is_real(test.lengths, test.x.shape[1])].mean())


def linear_stream(kind: str, count: int, seed: int) -> float:
    """Accuracy of the nearest class means of single frames."""
    train, test = (streams(kind, n, s) for n, s in ((count, seed), (20, 1000 + seed)))
    y = np.asarray(test.y)[is_real(test.lengths, test.x.shape[1])]
    return float((nearest_frame_means(train, test) == y).mean())


def sequences(kind: str, count: int, seed: int) -> SequenceData:
    """Sequences of 70% to 100% of the frames of a kind, the classes in turn."""
    draw, steps = KINDS[kind]
    rng, y = np.random.default_rng(seed), np.arange(count) % CLASSES
    drawn = [draw(rng, label, int(rng.uniform(0.7, 1) * steps)) for label in y]
    return pad([x.astype(np.float32) for x in drawn], y)


def measure(kind: str, count: int, seed: int, batch_size: int | None) -> float:
    """Accuracy of one training on the test sequences."""
    train, test = sequences(kind, count, seed), sequences(kind, TEST, 1000 + seed)
    keras.backend.clear_session()
    with tempfile.TemporaryDirectory() as scratch:
        save_npz(Path(scratch, "d.npz"), train)
        plan = Plan(batch_size=batch_size, seed=seed)
        train_classifier(Path(scratch, "d.npz"), Path(scratch, "m.keras"), plan=plan, quiet=True)
        model = keras.saving.load_model(Path(scratch, "m.keras"), compile=False)
    decisions = model.predict(zero_padded(test), verbose=0).argmax(axis=1)
    return float((decisions == test.y).mean())


def linear(kind: str, count: int, seed: int) -> float:
    """Accuracy of the nearest class means."""
    train, test = sequences(kind, count, seed), sequences(kind, TEST, 1000 + seed)
    return float((nearest_means(train, test) == test.y).mean())


def main(kinds: list[str], counts: list[int], seeds: int, accuracy_of: Any, baseline: Any) -> None:
    """Print a row of a table for each kind and number of recordings."""
    print("| data | recordings | --batch-size 32 | defaults | linear |\n|---|---|---|---|---|")
    for kind in kinds:
        for count in counts:
            ways = [
                np.mean([accuracy_of(kind, count, seed, size) for seed in range(seeds)])
                for size in (32, None)
            ]
            ways.append(np.mean([baseline(kind, count, seed) for seed in range(seeds)]))
            cells = " | ".join(f"{100 * accuracy:.0f}%" for accuracy in ways)
            print(f"| {kind} | {count} | {cells} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", default="18", help="numbers to try, as 18,60 (18)")
    parser.add_argument("--kind", choices=[*KINDS, *STREAMS], help="of data; else all")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each (2)")
    parser.add_argument("--streaming", action="store_true", help="labels per frame")
    parser.add_argument("--validation", action="store_true", help="with --streaming")
    arguments = parser.parse_args()
    names = list(STREAMS if arguments.streaming else KINDS)
    if arguments.kind not in (None, *names):
        parser.error(f"--kind {arguments.kind}: choose one of {', '.join(names)}")
    names = names if arguments.kind is None else [arguments.kind]
    numbers = [int(number) for number in arguments.recordings.split(",")]
    of_streams = partial(measure_stream, has_validation=arguments.validation), linear_stream
    functions = of_streams if arguments.streaming else (measure, linear)
    main(names, numbers, arguments.seeds, *functions)
