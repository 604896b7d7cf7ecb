"""Accuracy, size and step time of each recipe on three data sets of recordings and on text.

Each cell is trained on each data set, then pruned, clustered, and trained with fake quantization.
Each result is converted to a file, which the device runner evaluates on the test set. Results stay
in the folder, so that the same command continues after an interruption.
"""

import itertools
import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.accuracies import Key, lines, overview, summarized
from benchmarks.tables import Row, markdown, table
from benchmarks.tasks import tasks
from benchmarks.timing import medians_us
from benchmarks.variants import FLOAT, VARIANTS, file_of, measure
from kgated_edge import EdgeModel
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from train_language_model import use_one_thread

from kgated.atomic_write import check_writable, replace_file
from kgated.demos.cells.run import DEMO_CELLS
from kgated.layers import CELLS

Job = tuple[str, str, int]  # task, cell, seed
LATENCY_FILE = "latency.json"
console = Console()


class Part(StrEnum):
    """A part of the benchmark, by the name of its option."""

    JAPANESE_VOWELS = "JapaneseVowels"
    PLAID = "PLAID"
    BASIC_MOTIONS = "BasicMotions"
    CHARACTERS = "Characters"
    LATENCY = "latency"


def place(folder: Path, job: Job) -> Path:
    """The folder of a job."""
    return folder / f"{job[0]}-{job[1]}-{job[2]}"


def work(job: Job, folder: Path, quick: bool, recipes: Sequence[str]) -> list[Row]:
    """The rows of a data set, a cell and a seed; runs in its own process."""
    use_one_thread()
    task, own = tasks(quick)[job[0]], place(folder, job)
    own.mkdir(parents=True, exist_ok=True)
    return [measure(task, job[1], job[2], name, own) for name in recipes]


def run(
    jobs: list[Job], folder: Path, quick: bool, processes: int, recipes: Sequence[str]
) -> list[Row]:
    """The rows of all jobs, some at a time."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    spawn = multiprocessing.get_context("spawn")
    rows: list[Row] = []
    with (
        ProcessPoolExecutor(processes, spawn) as pool,
        Progress(*columns, TimeElapsedColumn(), console=console) as progress,
    ):
        bar = progress.add_task("training and converting", total=len(jobs))
        running = {pool.submit(work, job, folder, quick, recipes): job for job in jobs}
        for done in as_completed(running):
            task, cell, seed = running[done]
            rows += done.result()
            progress.update(bar, advance=1, description=f"{task} {cell}, seed {seed}")
    for row in rows:
        if "error" in row:
            console.print(f"{row['task']} {row['cell']} {row['recipe']}: {row['error']}")
    order = {job: n for n, job in enumerate(jobs)}
    return sorted(rows, key=lambda row: order[row["task"], row["cell"], row["seed"]])


def latencies(folder: Path, jobs: Iterable[Job], quick: bool, rounds: int) -> dict[Key, float]:
    """Median µs of a step, by task, cell and recipe, of the files of the first seed."""
    medians: dict[Key, float] = {}
    known, jobs = tasks(quick), list(jobs)
    for task, cell in dict.fromkeys((task, cell) for task, cell, _ in jobs):
        frames = known[task].frames()
        seed = min(seed for t, c, seed in jobs if (t, c) == (task, cell))
        runs = {}
        for name in VARIANTS:
            path = file_of(place(folder, (task, cell, seed)), name, "tflite")
            if path.is_file():
                runs[name] = stepper(path, frames)
        for name, us in medians_us(runs, rounds).items():
            medians[task, cell, name] = us
    return medians


def stepper(path: Path, frames: Sequence[Any]) -> Callable[[], Any]:
    """A function that runs one step, each time with the next frame."""
    step, again = EdgeModel(path).step, itertools.cycle(frames)
    return lambda: step(next(again))


def show(rows: list[Row], as_markdown: bool) -> None:
    """Print the tables and the number of missed limits."""
    titles = {
        "Points lost against float, by the runner of the device": overview(rows),
        "Accuracy on the device side, size and step of each recipe": lines(rows),
    }
    for title, medians in titles.items():
        if medians and as_markdown:
            print(markdown(medians, title))
        elif medians:
            Console(width=240).print(table(medians, title))
    missed = sum(len(row["missed"]) for row in rows)
    print(f"{missed} limits missed in {len(rows)} rows")


def data_sets(parts: list[Part] | None) -> list[str]:
    """The data sets among the parts to run; None stands for all parts."""
    return [part.value for part in parts or Part if part is not Part.LATENCY]


def jobs_of(names: list[str], cells: Sequence[str], seeds: int) -> list[Job]:
    """Every data set with every cell, seed by seed."""
    return [(name, cell, seed) for seed in range(seeds) for name in names for cell in cells]


def check_names(option: str, names: list[str] | None, known: Iterable[str]) -> None:
    """Raise an error where an option has a name that is not known."""
    if unknown := sorted(set(names or ()) - set(known)):
        raise typer.BadParameter(f"`{option}` must be of {list(known)}. Received: {unknown}")


def main(
    folder: Annotated[Path, typer.Option(help="Models, files and rows.")] = Path("runs/accuracy"),
    only: Annotated[
        list[Part] | None, typer.Option(help="A part to run, repeatable. Default: all.")
    ] = None,
    cell: Annotated[
        list[str] | None, typer.Option(help="A cell to run, repeatable. Default: all.")
    ] = None,
    recipe: Annotated[
        list[str] | None, typer.Option(help="A recipe's row, repeatable. Default: all.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings per model, from seed 0.")] = 3,
    quick: Annotated[bool, typer.Option("--quick", help="Train briefly, as a test.")] = False,
    processes: Annotated[int, typer.Option(min=1, help="Number of parallel trainings.")] = 2,
    rounds: Annotated[int, typer.Option(min=3, help="Rounds per file in `latency`.")] = 40,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    out: Annotated[Path | None, typer.Option("--json", help="JSON file for the rows.")] = None,
) -> None:
    """Train, convert, evaluate, and print the table; `--only latency` times existing files."""
    if out is not None:
        check_writable(out)
    check_names("--cell", cell, CELLS)
    check_names("--recipe", recipe, VARIANTS)
    # Each row has the loss against float, so float is always measured.
    recipes = [name for name in VARIANTS if not recipe or name in {FLOAT, *recipe}]
    folder = folder / "quick" if quick else folder
    folder.mkdir(parents=True, exist_ok=True)
    jobs = jobs_of(data_sets(only) or data_sets(None), cell or DEMO_CELLS, seeds)
    if data_sets(only):
        rows = run(jobs, folder, quick, processes, recipes)
    else:
        rows = earlier_rows(jobs, folder)
    latency = earlier_latencies(folder)
    if not only or Part.LATENCY in only:
        latency |= latencies(folder, jobs, quick, rounds)
        save_latencies(folder, latency)
    summary = summarized(rows, latency)
    show(summary, as_markdown)
    if out is not None:
        replace_file(out, json.dumps({"rows": rows, "summary": summary}, indent=1).encode())


def earlier_latencies(folder: Path) -> dict[Key, float]:
    """The latencies measured by earlier runs."""
    path = folder / LATENCY_FILE
    rows = json.loads(path.read_text()) if path.is_file() else []
    return {tuple(key): us for key, us in rows}


def save_latencies(folder: Path, latency: dict[Key, float]) -> None:
    """Write the latencies, and print the load of the machine."""
    rows = [[list(key), us] for key, us in latency.items()]
    replace_file(folder / LATENCY_FILE, json.dumps(rows).encode())
    print(f"load average at the end of the timings: {os.getloadavg()[0]:.1f}")


def earlier_rows(jobs: list[Job], folder: Path) -> list[Row]:
    """The rows measured by earlier runs."""
    paths = [file_of(place(folder, job), name, "json") for job in jobs for name in VARIANTS]
    return [json.loads(path.read_text()) for path in paths if path.is_file()]


if __name__ == "__main__":
    typer.run(main)
