"""Train, convert, run and compare all cells on one data set."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
from kgated_edge import EdgeModel
from kgated_edge.evaluation.dataset import SequenceData
from rich.console import Console
from rich.table import Table

from kgated.atomic_write import prepare_folder, replace_file
from kgated.data import DataSet, japanese_vowels, real_frames, save_npz, split, zero_padded
from kgated.demos.cells.baseline import linear_baseline
from kgated.demos.cells.page import percent, render, table_text
from kgated.demos.cells.results import Results, Row, Setting, disagreements, to_json
from kgated.deploy import Recipe, to_tflite
from kgated.layers import CELLS
from kgated.models import sequence_classifier
from kgated.optional_imports import require_demo
from kgated.study.edge_check import Limits, run_check
from kgated.study.results import this_machine
from kgated.training import Plan, fit

DEMO_CELLS = ("LSTM", "PeepholeLSTM", "GRU")
QUANTIZATIONS = ("none", "dynamic")
PACKAGES = ("kgated", "kgated-edge", "keras", "tensorflow", "ai-edge-litert", "numpy")
VALIDATION = 0.2
DEADLINE_MS = 10.0
# Preemption on a desktop system: the fraction of steps that may miss the deadline.
MISSES_ALLOWED = 0.001
ACCURACY_LOSS_ALLOWED = 0.005


@dataclass(frozen=True)
class Trained:
    """A cell's model after training.

    Attributes:
        cell: the layer's name.
        model: the Keras model.
        outputs: (N, classes), on the padded, masked test set.
        accuracy: of the outputs.
        seconds: duration of the training.
    """

    cell: str
    model: keras.Model
    outputs: np.ndarray
    accuracy: float
    seconds: float


def demo(
    out_dir: str | Path,
    *,
    seed: int = 0,
    cells: Sequence[str] = DEMO_CELLS,
    plan: Plan | None = None,
    data: DataSet | None = None,
    console: Console | None = None,
) -> Results:
    """Train each cell on real speech, convert it, check it on the device side, write a page.

    Writes `report.html` and `results.json` to `out_dir`, each model as `.keras` and as `.tflite` by
    each recipe, and `test.npz` for `kgated-edge check` on a device.

    Args:
        out_dir: the folder to write to; it is made if it does not exist.
        seed: of the split, the weights and the order.
        cells: names from `CELLS`.
        plan: options of the training; None: the defaults of `Plan`. Its seed is `seed`.
        data: training and test sequences; None: JapaneseVowels.
        console: where to print; None: the terminal.

    Returns:
        The results. `passed` is False if a limit is not met or a float file and its Keras model
        disagree.

    Raises:
        OSError: `out_dir` can't be made or written to; raised before anything else is done.
        ImportError: a package of the extra `demo` is missing.
    """
    folder = prepare_folder(out_dir)
    console = console or Console()
    require_demo()
    start = time.perf_counter()
    data = data or japanese_vowels()
    setting = setting_of(data, seed)
    save_npz(folder / "test.npz", data.test)
    baseline = linear_baseline(data.train, data.test, seed=seed)
    console.print(
        f"baseline: {percent(baseline.test_accuracy)}%, {baseline.description}", soft_wrap=True
    )
    plan = replace(plan or Plan(), seed=seed)
    trained_cells = [train_cell(cell, data, plan, console) for cell in cells]
    for trained in trained_cells:
        save_model(trained, folder)
    rows = []
    with console.status("converting, and checking on the device side"):
        for trained in trained_cells:
            rows += [convert_and_check(trained, q, data, setting, folder) for q in QUANTIZATIONS]
    seconds = {trained.cell: trained.seconds for trained in trained_cells}
    results = Results(setting, baseline, tuple(rows), seconds, time.perf_counter() - start)
    publish(results, folder, console)
    return results


def setting_of(data: DataSet, seed: int) -> Setting:
    """The data, the limits and the machine of the comparison."""
    frames = int(data.test.lengths.sum())
    return Setting(
        data=data.name,
        train_sequences=len(data.train),
        test_sequences=len(data.test),
        test_frames=frames,
        classes=len(data.labels),
        sample_period_s=data.sample_period_s,
        deadline_ms=DEADLINE_MS,
        max_misses=int(MISSES_ALLOWED * frames),
        seed=seed,
        machine=this_machine(),
        versions={name: version(name) for name in PACKAGES},
    )


def train_cell(cell: str, data: DataSet, plan: Plan, console: Console) -> Trained:
    """Train a classifier on one cell, with a part of the training set for early stopping."""
    train, validation = split(data.train, VALIDATION, seed=plan.seed)
    model = sequence_classifier(
        CELLS[cell],
        frames=real_frames(train),
        classes=len(data.labels),
        seed=plan.seed,
        dtype=plan.precision,
        name=cell,
    )
    start = time.perf_counter()
    fit(model, train, validation, plan, console=console)
    seconds = time.perf_counter() - start
    outputs = model.predict(zero_padded(data.test), batch_size=len(data.test), verbose=0)
    return Trained(cell, model, outputs, accuracy(outputs, data.test), seconds)


def accuracy(outputs: np.ndarray, data: SequenceData) -> float:
    """The fraction of sequences whose largest output (N, classes) is their label."""
    return float((outputs.argmax(axis=-1) == data.y).mean())


def save_model(trained: Trained, folder: Path) -> None:
    """Save the Keras model atomically."""
    with tempfile.TemporaryDirectory() as scratch:
        saved = Path(scratch, "model.keras")
        trained.model.save(saved)
        replace_file(folder / f"{trained.cell}.keras", saved.read_bytes())


def convert_and_check(
    trained: Trained, quantize: str, data: DataSet, setting: Setting, folder: Path
) -> Row:
    """Make one `.tflite` file, run the test set through it on the device side, compare."""
    path = folder / f"{trained.cell}.{Recipe(quantize=quantize).name}.tflite"
    conversion = to_tflite(
        trained.model,
        path,
        quantize=quantize,
        calibration=data.train,
        labels=data.labels,
        sample_period_s=data.sample_period_s,
    )
    floor = max(0.0, trained.accuracy - ACCURACY_LOSS_ALLOWED)
    limits = Limits(setting.deadline_ms, setting.max_misses, floor)
    measured = run_check(path, folder / "test.npz", limits)
    difference, differing = compare_outputs(trained.outputs, final_outputs(path, data.test))
    return Row(
        cell=trained.cell,
        quantize=quantize,
        parameters=int(sum(np.prod(w.shape) for w in trained.model.trainable_weights)),
        keras_accuracy=trained.accuracy,
        device_accuracy=measured.accuracy,
        differing_decisions=differing,
        max_abs_difference=difference,
        file_name=path.name,
        file_bytes=conversion.file_bytes,
        latency=measured.latency,
        deadline_misses=measured.deadline_misses,
        peak_memory_mib=measured.peak_memory_mib,
        failures=measured.failures + disagreements(quantize, difference, differing),
    )


def compare_outputs(outputs: np.ndarray, device_outputs: np.ndarray) -> tuple[float, int]:
    """The maximum absolute difference of outputs (N, classes), and how many decisions differ."""
    differing = outputs.argmax(axis=-1) != device_outputs.argmax(axis=-1)
    return float(np.abs(outputs - device_outputs).max()), int(differing.sum())


def final_outputs(path: Path, data: SequenceData) -> np.ndarray:
    """The outputs of the file after the last real frame of each sequence, (N, classes)."""
    edge = EdgeModel(path)
    outputs = []
    for frames, length in zip(data.x, data.lengths, strict=True):
        edge.reset()
        outputs.append(edge.run(frames[:length])[-1])
    return np.stack(outputs)


def publish(results: Results, folder: Path, console: Console) -> None:
    """Write the results and the page, print the table and the failures."""
    replace_file(folder / "results.json", to_json(results).encode())
    replace_file(folder / "report.html", render(results).encode())
    console.print(table(results))
    for failure in results.failures:
        console.print(f"FAIL {failure}", style="red", soft_wrap=True)
    if any("took longer" in failure for failure in results.failures):
        console.print("Other programs may have delayed these steps: repeat it on an idle machine.")
    console.print(f"{folder / 'report.html'}, after {results.total_s:.0f} s", soft_wrap=True)


def table(results: Results) -> Table:
    """The page's table for a terminal."""
    rows = table_text(results)
    terminal_table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name in rows[0]:
        terminal_table.add_column(name, justify="left" if name in ("cell", "quantize") else "right")
    for row in rows:
        terminal_table.add_row(*row.values(), style=None if row["passed"] == "yes" else "red")
    return terminal_table
