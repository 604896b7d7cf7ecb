"""How many int8 conversions are refused, and how much accuracy the others lose.

Each cell is trained for a few epochs on three data sets. Each model is converted to int8; the first
one also with logits, thirty times as large, instead of probabilities. A refusal of a model that
works in float is wrong.
Models and rows are stored in the folder: the same command resumes after an interruption, and each
model is trained once. `--convert-again` measures the stored models after a change of the converter.
"""

import itertools
import json
import os
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from benchmarks.tables import Row, markdown, table
from benchmarks.tasks import Classification, Length, Lengths, tasks
from benchmarks.variants import FLOAT, file_of, trained
from rich.console import Console
from train_language_model import use_one_thread

from kgated.atomic_write import check_writable, replace_file
from kgated.data import DataSet
from kgated.demos.cells.run import DEMO_CELLS
from kgated.deploy import Recipe
from kgated.deploy.convert import convert
from kgated.deploy.metadata import ConversionOptions
from kgated.errors import ConversionError
from kgated.layers import CELLS

NAMES = ("JapaneseVowels", "PLAID", "BasicMotions")
WIDE, WIDE_NAME = 30.0, "wide logits"
MAX_LOST = 3.0  # points


def wide_logits(model: keras.Model) -> keras.Model:
    """The model without its softmax, its logits `WIDE` times as large."""
    last: Any = model.layers[-1]
    logits = keras.layers.Dense(last.units, name="logits")
    scaled = keras.Model(model.inputs[0], logits(last.input))
    logits.set_weights([WIDE * w for w in last.get_weights()])
    return scaled


def measure(model: keras.Model, data: DataSet, folder: Path) -> Row:
    """Convert to int8 and evaluate on the test set, or give the reason of the refusal."""
    recipe = Recipe(quantize="int8")
    options = ConversionOptions(recipe, data.train, evaluation=data.test, explain_cost=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of small features
            conversion = convert(model, folder / "m.tflite", options)
    except ConversionError as error:
        return {"refused": str(error)}
    evaluation = conversion.evaluation
    assert evaluation is not None, "the test set has labels"
    return {
        "refused": None,
        "keras": 100.0 * float(evaluation.keras.accuracy or 0.0),
        "lost": 100.0 * float(evaluation.accuracy_lost or 0.0),
        "relative_rmse": conversion.agreement.relative_rmse,
    }


def stored(path: Path, again: bool, compute: Callable[[], Row]) -> Row:
    """The row that an earlier run left in a file; else computed now, and left there."""
    if path.is_file() and not again:
        row: Row = json.loads(path.read_text())
        return row
    row = compute()
    replace_file(path, json.dumps(row).encode())
    return row


def rows(
    seeds: list[int], epochs: int, cells: list[str], names: list[str], folder: Path, again: bool
) -> Iterator[Row]:
    """A row of each task, cell and seed."""
    known = tasks(quick=True)
    for seed, name, cell in itertools.product(seeds, names, cells):
        task = known[name]
        assert isinstance(task, Classification)
        task.lengths = Lengths(*[Length(epochs, 0.01)] * 4)
        place = folder / f"{name}-{cell}-{seed}-{epochs}_epochs"
        place.mkdir(parents=True, exist_ok=True)
        for kind in (name, WIDE_NAME) if name == NAMES[0] else (name,):
            compute = partial(train_and_measure, task, cell, seed, kind, place)
            row = stored(file_of(place, kind, "json"), again, compute)
            yield {"task": kind, "cell": cell, "seed": seed, **row}


def train_and_measure(task: Classification, cell: str, seed: int, kind: str, place: Path) -> Row:
    """The row of a model, trained now unless the folder has it."""
    model = trained(task, cell, seed, FLOAT, place)
    return measure(wide_logits(model) if kind == WIDE_NAME else model, task.data, place)


def summary(measured: list[Row]) -> list[Row]:
    """A line for each task and cell."""
    lines = []
    for task, cell in dict.fromkeys((row["task"], row["cell"]) for row in measured):
        group = [row for row in measured if (row["task"], row["cell"]) == (task, cell)]
        files = [row for row in group if row["refused"] is None]
        lost = sorted(row["lost"] for row in files)
        line: dict[str, Any] = {"task": task, "cell": cell, "conversions": len(group)}
        line |= {"refused": len(group) - len(files)}
        line |= {"float, %": sum(row["keras"] for row in files) / max(1, len(files))}
        line |= {"most lost, points": lost[-1] if lost else None}
        line |= {"within 3 points": sum(points <= MAX_LOST for points in lost)}
        line |= {"RMSE / spread": max((row["relative_rmse"] for row in files), default=None)}
        lines.append(line)
    return lines


def main(
    folder: Annotated[Path, typer.Option(help="Where models and finished rows are stored.")] = Path(
        "runs/int8_refusals"
    ),
    again: Annotated[
        bool, typer.Option("--convert-again", help="Measure the stored models again.")
    ] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings per model, from seed 0.")] = 3,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the data.")] = 12,
    cell: Annotated[
        list[str] | None, typer.Option(help="A cell to run, repeatable. Default: all.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="A data set to run, repeatable. Default: all.")
    ] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    out: Annotated[Path | None, typer.Option("--json", help="JSON file for the rows.")] = None,
) -> None:
    """Train, convert to int8, and print how many conversions were refused."""
    if out is not None:
        check_writable(out)
    for names, known in ((cell or [], CELLS), (only or [], NAMES)):
        if unknown := sorted(set(names) - set(known)):
            raise typer.BadParameter(f"must be of {list(known)}. Received: {unknown}")
    use_one_thread()
    measured = []
    cells, data_sets = cell or list(DEMO_CELLS), only or list(NAMES)
    for row in rows(list(range(seeds)), epochs, cells, data_sets, folder, again):
        measured.append(row)
        print(row, flush=True)
        if out is not None:
            replace_file(out, json.dumps(measured, indent=1).encode())
    lines = summary(measured)
    title = "Conversions to int8"
    if as_markdown:
        print(markdown(lines, title))
    else:
        Console(width=160).print(table(lines, title))
    refused = [row for row in measured if row["refused"] is not None]
    print(f"{len(refused)} of {len(measured)} conversions refused")
    raise typer.Exit(1 if refused else 0)


if __name__ == "__main__":
    typer.run(main)
