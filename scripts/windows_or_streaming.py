"""Accuracy per frame in an unbounded stream: training on windows compared with --streaming.

It needs the folder folder that `kgated demo --task motion` wrote.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from kgated_edge import EdgeModel
from kgated_edge.evaluation.dataset import SequenceData, load_npz

from kgated import to_tflite
from kgated.data import BuildOptions, CsvOptions, LabelOptions, csv_to_npz
from kgated.models import train_classifier
from kgated.training import Plan

WINDOW, HOP = 20, 5  # frames of 0.1 s


def labelled(
    folder: Path, part: str, output: Path, options: BuildOptions | None = None
) -> SequenceData:
    """The streams of a part as a data set."""
    table = LabelOptions(table=folder / f"{part}.csv")
    csv_to_npz(folder / part, output, CsvOptions(), table, options)
    return load_npz(output)


def windowed(model: EdgeModel, x: np.ndarray) -> np.ndarray:
    """Decisions (T,) of the last complete window; each window starts from a zero state."""
    decisions = np.full(len(x), -1)
    for end in range(WINDOW, len(x) + 1, HOP):
        model.reset()
        decisions[end - 1 : end - 1 + HOP] = model.run(x[end - WINDOW : end])[-1].argmax()
    return decisions


def endless(model: EdgeModel, x: np.ndarray) -> np.ndarray:
    """Decisions (T,) with a state carried from the first frame to the last."""
    model.reset()
    decisions: np.ndarray = np.asarray(model.run(x)).argmax(-1)
    return decisions


def main(folder: Path, streams: int) -> None:
    """Train on windows, and print the accuracy of each way."""
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        options = BuildOptions(window=f"{WINDOW}f", hop=f"{HOP}f", window_label="last")
        data = labelled(folder, "train", work / "windows.npz", options)
        plan = Plan(epochs=8)
        train_classifier(
            work / "windows.npz", work / "w.keras", cell="GRU", units=24, plan=plan, quiet=True
        )
        trained = keras.saving.load_model(work / "w.keras", compile=False)
        to_tflite(trained, work / "w.tflite", calibration=data.x[:20])
        on_windows, streaming = EdgeModel(work / "w.tflite"), EdgeModel(folder / "motion.tflite")
        test = labelled(folder, "testing", work / "test.npz")
    ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "windows, endless": lambda x: endless(on_windows, x),
        f"windows, --window {WINDOW / 10:g} --hop {HOP / 10:g}": lambda x: windowed(on_windows, x),
        "--streaming, endless": lambda x: endless(streaming, x),
    }
    assert test.y is not None
    for name, decide in ways.items():
        right = []
        for n, length in enumerate(test.lengths[:streams]):
            x = np.ascontiguousarray(test.x[n, :length])
            right.append((decide(x) == test.y[n, :length])[WINDOW:])
        print(f"{name}: {100 * np.concatenate(right).mean():.1f}% of the frames", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder that `kgated demo --task motion` wrote")
    parser.add_argument("--streams", type=int, default=6, help="number of test streams (6)")
    arguments = parser.parse_args()
    main(arguments.folder, arguments.streams)
