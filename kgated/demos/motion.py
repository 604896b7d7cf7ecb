"""`kgated demo --task motion`: activities in a long stream of a watch's sensors."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from kgated.data import (
    BuildOptions,
    CsvOptions,
    LabelOptions,
    SensorAugmentation,
    csv_to_npz,
)
from kgated.demos.from_files import (
    TESTING,
    TRAIN,
    TUNING,
    EventDemo,
    EventTask,
    run_event_demo,
)
from kgated.demos.streams import Array, Stream, join_pieces, write_csv, write_streams
from kgated.optional_imports import from_demo
from kgated.training import Plan

RATE = 10.0
BACKGROUND = "standing"
AXES = ("ax", "ay", "az", "gx", "gy", "gz")
_TUNING_OF_EACH = 4  # of the ten recordings of a class for training
_EVENT_FRAMES = (40, 90)
_PAUSE_FRAMES = (30, 200)
_STREAMS = {TRAIN: (24, 100.0), TUNING: (6, 600.0), TESTING: (6, 1200.0)}
NOTE = (
    "BasicMotions (UEA archive): 80 recordings of a watch, 10 s each. Sections of recordings are "
    "joined to streams, with standing as the background. No recording is in two of the parts for "
    "training, for tuning and for the test. Sections of one recording occur several times in a "
    "stream."
)
TASK = EventTask(
    name="motion",
    title="Motion: from recordings to events",
    note=NOTE,
    units=24,
    plan=Plan(
        epochs=25,
        patience=25,
        learning_rate=1e-2,
        augmentation=SensorAugmentation(jitter=0.05, scaling=0.1),
    ),
    steps=100,
    max_false_accepts_per_hour=3.0,
    smoothing_s=(0.0, 0.3, 0.5, 1.0, 1.5, 2.0),
    refractory_s=1.0,
)


def motion_demo(
    out_dir: str | Path,
    *,
    seed: int = 0,
    task: EventTask = TASK,
    scale: float = 1.0,
    console: Console | None = None,
) -> EventDemo:
    """Detects badminton, running and walking in streams of BasicMotions, before and after `tune`.

    Args:
        out_dir: the folder to write to.
        seed: of the streams, the weights and the order.
        task: the options of training and `tune`.
        scale: of the number of seconds in each stream.
        console: where to print; None: the terminal.

    Returns:
        The metrics on the test streams.

    Raises:
        OSError: `out_dir` can't be made or written to.
        ImportError: a package of the extras `demo` and `report` is missing.
    """
    task = replace(task, plan=replace(task.plan, seed=seed))
    return run_event_demo(
        task, out_dir, lambda folder: write_motion(folder, seed, scale), make_data, console
    )


def write_motion(folder: Path, seed: int, scale: float = 1.0) -> None:
    """Writes the streams of all parts as CSV files, and their tables of events."""
    for n, (part, recordings) in enumerate(parts().items()):
        rng = np.random.default_rng((seed, n))
        count, seconds = _STREAMS[part]
        streams = [stream_of(recordings, seconds * scale, rng) for _ in range(count)]
        write_streams(folder / part, streams, lambda path, s: write_csv(path, s, AXES))


def make_data(folder: Path) -> None:
    """Makes train.npz with a label per frame."""
    csv_to_npz(
        folder / TRAIN,
        folder / "train.npz",
        CsvOptions(),
        LabelOptions(table=folder / f"{TRAIN}.csv"),
        BuildOptions(),
    )


def parts() -> dict[str, dict[str, list[Array]]]:
    """The recordings (100, 6) float32 of each part and class; no recording is in two parts."""
    load = from_demo("sktime.datasets").load_basic_motions
    recordings_by_part: dict[str, dict[str, list[Array]]] = {}
    for part in ("TRAIN", "TEST"):
        x, y = load(split=part, return_type="numpy3D")
        recordings_by_part[part] = {
            str(label): [series.T.astype(np.float32) for series in x[y == label]]
            for label in np.unique(y)
        }
    train = recordings_by_part["TRAIN"]
    return {
        TRAIN: {label: items[:-_TUNING_OF_EACH] for label, items in train.items()},
        TUNING: {label: items[-_TUNING_OF_EACH:] for label, items in train.items()},
        TESTING: recordings_by_part["TEST"],
    }


def stream_of(
    recordings: dict[str, list[Array]], seconds: float, rng: np.random.Generator
) -> Stream:
    """Sections of recordings in random order, with pauses of the background between them."""
    return join_pieces(_pieces(recordings, rng), seconds, RATE)


def _pieces(
    recordings: dict[str, list[Array]], rng: np.random.Generator
) -> Iterator[tuple[Array, str | None]]:
    labels = sorted(set(recordings) - {BACKGROUND})
    while True:
        frames = int(rng.integers(*_PAUSE_FRAMES))
        while frames > 0:
            piece = _section(recordings[BACKGROUND], min(frames, 60), rng)
            frames -= len(piece)
            yield piece, None
        label = labels[rng.integers(len(labels))]
        yield _section(recordings[label], int(rng.integers(*_EVENT_FRAMES)), rng), label


def _section(recordings: list[Array], frames: int, rng: np.random.Generator) -> Array:
    recording = recordings[rng.integers(len(recordings))]
    start = int(rng.integers(len(recording) - frames + 1))
    return recording[start : start + frames]
