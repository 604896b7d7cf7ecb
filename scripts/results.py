"""Our own runs of `kgated compare`, for docs/results.md: small budgets, one folder per data set.

The sensor data sets come with sktime and the text with Python; the adding problem and the copy task
are drawn from a seed. Each data set is written as an `.npz` file, `kgated compare` runs on it as a
process of its own, and the tables of all reports are printed as Markdown. A run that was stopped
continues.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from pydoc_data import topics
from typing import Annotated, Any

import numpy as np
import typer
from benchmarks.recordings import basic_motions, plaid
from long_memory import adding_problem

from kgated.data import DataSet, SequenceData, japanese_vowels, save_npz

SYMBOLS, COPIED, DELAY = 4, 5, 10  # of the copy task
STEPS = 40  # of the adding problem
CHARACTERS = 60_000  # of the text


@dataclass(frozen=True)
class Study:
    """A data set, and how it is compared on.

    Attributes:
        make: the data to learn from, and to test on; None: a part of the former.
        options: of `kgated compare`.
    """

    make: Callable[[], tuple[SequenceData, SequenceData | None]]
    options: tuple[str, ...]


def of_data_set(load: Callable[[], DataSet]) -> Callable[[], tuple[SequenceData, SequenceData]]:
    """The two parts of a data set, with its names and its period."""

    def make() -> tuple[SequenceData, SequenceData]:
        data = load()
        parts = [
            replace(
                part,
                info=replace(
                    part.info, class_names=data.labels, sample_period_s=data.sample_period_s
                ),
            )
            for part in (data.train, data.test)
        ]
        return parts[0], parts[1]

    return make


def adding() -> tuple[SequenceData, None]:
    """The sum of two numbers that are marked in 40 steps."""
    x, y = adding_problem(np.random.default_rng(0), 1500, STEPS)
    return SequenceData(x, np.full(len(x), STEPS), y[:, 0]), None


def copying() -> tuple[SequenceData, None]:
    """Five symbols, a pause, a signal; then the symbols are asked for, a label per frame."""
    rng = np.random.default_rng(0)
    symbols = rng.integers(0, SYMBOLS, (1000, COPIED))
    pause, signal = SYMBOLS, SYMBOLS + 1
    middle = np.full((len(symbols), DELAY), pause)
    middle[:, -1] = signal
    inputs = np.concatenate([symbols, middle, np.full_like(symbols, pause)], axis=1)
    labels = np.concatenate([np.full((len(symbols), COPIED + DELAY), pause), symbols], axis=1)
    x = np.eye(SYMBOLS + 2, dtype=np.float32)[inputs]
    return SequenceData(x, np.full(len(x), x.shape[1]), labels), None


def text() -> tuple[SequenceData, None]:
    """The beginning of Python's help texts as one sequence of characters."""
    content = "".join(topics.topics.values())[:CHARACTERS]
    _, tokens = np.unique(list(content), return_inverse=True)
    return SequenceData(tokens[None].astype(np.int32), np.array([len(tokens)])), None


CELLS = ("--cells", "rnn,lstm,peephole,gru,mingru", "--quantize", "dynamic,int8")
# More time than the epochs take: each cell trains for the epochs that it needs, on any machine.
FAIR = ("--budget-minutes", "600")


def options(units: int, trials: int, seeds: int, epochs: int, patience: int) -> tuple[str, ...]:
    """The options of `kgated compare` for a study."""
    names = ("--units", "--trials", "--seeds", "--epochs", "--patience")
    values = (units, trials, seeds, epochs, patience)
    pairs = (text for name, value in zip(names, values, strict=True) for text in (name, str(value)))
    return (*CELLS, *pairs, *FAIR)


STUDIES = {
    "vowels": Study(of_data_set(japanese_vowels), options(32, 4, 3, 100, 25)),
    "motions": Study(of_data_set(basic_motions), options(32, 3, 3, 200, 40)),
    "plaid": Study(of_data_set(plaid), options(64, 2, 3, 80, 25)),
    "copy": Study(copying, options(32, 2, 2, 120, 40)),
    "adding": Study(adding, options(32, 1, 2, 80, 30)),
    "text": Study(text, options(32, 1, 2, 30, 10)),
}


def command_of(name: str, folder: Path) -> list[str]:
    """The arguments of `kgated compare` for a study, after writing its data."""
    study = STUDIES[name]
    parts = zip((folder / f"{name}.npz", folder / f"{name}-test.npz"), study.make(), strict=True)
    files = []
    for path, data in parts:
        if data is not None:
            save_npz(path, data)
            files.append(str(path))
    test = ["--test", files[1]] if len(files) > 1 else []
    return [
        files[0],
        *test,
        *study.options,
        "--out",
        str(folder / name),
    ]


def table(report: dict[str, Any]) -> str:
    """The results of a report as a Markdown table with its recommendation."""
    factor = report["metric"]["factor"]
    lines = [
        f"| model | parameters | epochs, s to best | {report['metric']['title']} | reach | "
        "device, by recipe | KiB | p50 µs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in report["candidates"]:
        exported = next(run for run in row["runs"] if run["seed"] == row["exported_seed"])
        best = row["search_run"] if exported["val_loss"] is None else exported
        values = [f"{factor * d['value']:.4g}" for d in row["devices"] if d["value"] is not None]
        sizes = [f"{d['file_bytes'] / 1024:.1f}" for d in row["devices"] if d["file_bytes"]]
        times = [f"{d['step_us_p50']:.1f}" for d in row["devices"] if d["file_bytes"]]
        runs = [row["search_run"], *row["runs"]]
        mark = "*" if any(run["out_of_time"] for run in runs) else ""
        lines.append(
            f"| {row['name']} | {row['parameters']:,} | {best['best_epoch']}{mark}, "
            f"{best['seconds_to_best']:.0f} | {factor * row['value']:.4g} ± "
            f"{factor * row['spread']:.2g} | {row['gradient_steps']} of "
            f"{len(row['gradient_norms'] or [0]) - 1} | {', '.join(values)} | {', '.join(sizes)} | "
            f"{', '.join(times)} |"
        )
    simple = [f"{b['name']} {factor * b['value']:.4g}" for b in report["baselines"]]
    return "\n".join([*lines, "", f"Beside them: {', '.join(simple)}.", *report["recommendation"]])


def main(
    folder: Annotated[Path, typer.Option(help="Folder for data and results.")] = Path("results"),
    only: Annotated[str, typer.Option(help="Studies, separated by commas.")] = ",".join(STUDIES),
) -> None:
    """Run the studies, and print their tables."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in only.split(","):
        arguments = command_of(name, folder)
        print(f"\n## {name}\n\nkgated compare {' '.join(arguments)}\n", flush=True)
        subprocess.run([sys.executable, "-m", "kgated_cli", "compare", *arguments], check=True)
        print(table(json.loads((folder / name / "compare.json").read_text())), flush=True)


if __name__ == "__main__":
    typer.run(main)
