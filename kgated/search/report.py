"""The end of a search: the choice, the front on the test data, the files of the report."""

import os
import platform
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from kgated.atomic_write import replace_file
from kgated.compare.baseline import linear_baseline
from kgated.compare.study_page import terminal_table
from kgated.errors import ConversionError
from kgated.search.choice import choose, explain
from kgated.search.files import Workshop
from kgated.search.options import SearchOptions
from kgated.search.outcome import Outcome, front
from kgated.search.page import render, table_rows
from kgated.search.results import Reference, SearchResults, to_csv, to_json
from kgated.search.space import Design
from kgated.search.study import SearchStudy
from kgated.search.teacher import Teacher

REFERENCE_RECIPE = "dynamic"


def report(
    name: str,
    workshop: Workshop,
    study: SearchStudy,
    options: SearchOptions,
    teacher: Teacher | None,
) -> SearchResults:
    """Choose a file, and measure it and the front on the test data.

    Raises:
        ValueError: nothing was trained to the end, or no file meets the limits.
    """
    outcomes, rejected, budget = study.outcomes(), study.rejected(), options.budget
    if not outcomes and rejected:
        last = rejected[-1]
        raise ValueError(f"no design was trained to the end; the last, {last.name}: {last.reason}")
    choice, best = choose(outcomes, budget, options.goal), front(outcomes, budget)
    tested = dict.fromkeys([*best, choice.outcome])
    fetch = study.queue.backend.fetch_file
    for outcome in tested:
        fetch(workshop.folder / "files" / outcome.file_name)
    tests = {outcome.name: _test(outcome, workshop) for outcome in tested}
    parts = workshop.parts
    test = (tests[choice.outcome.name], len(parts.test))
    return SearchResults(
        data=name,
        classes=parts.classes,
        train_sequences=len(parts.train),
        validation_sequences=len(parts.validation),
        test_sequences=len(parts.test),
        sample_period_s=workshop.period_s,
        device=workshop.device.name,
        budget=budget,
        min_accuracy=choice.goal,
        reached=choice.reached,
        chosen=choice.outcome,
        front=tuple(best),
        test_accuracies=tests,
        outcomes=tuple(outcomes),
        rejected=tuple(rejected),
        reference=None if teacher is None else _reference(teacher, workshop),
        baseline=linear_baseline(parts.development, parts.test),
        sentences=explain(choice, outcomes, rejected, budget, test),
        notes=parts.notes,
        machine=f"{platform.machine()}, {platform.system()}, {os.cpu_count()} CPUs",
    )


def _test(outcome: Outcome, workshop: Workshop) -> float:
    return workshop.measure(workshop.folder / "files" / outcome.file_name, "test")[1]


def _reference(teacher: Teacher, workshop: Workshop) -> Reference | None:
    """The teacher's own file; None where it can't be converted to a stream."""
    path = workshop.folder / "files" / "teacher.tflite"
    design = Design("teacher", 0, quantize=REFERENCE_RECIPE)
    try:
        workshop.convert(teacher.model, design, path, workshop.parts.train)
    except ConversionError:
        return None
    cost, validation = workshop.measure(path, "validation")
    test = workshop.measure(path, "test")[1]
    return Reference(teacher.name, REFERENCE_RECIPE, cost, validation, test)


def publish(results: SearchResults, folder: Path, fetch: Callable[[Path], Path]) -> None:
    """Write the chosen model, and the results as JSON, CSV and a page.

    Args:
        results: of the search.
        folder: to write to.
        fetch: makes sure that a file of another process is in the folder.
    """
    chosen = results.chosen
    for sub, name, target in (
        ("files", chosen.file_name, "chosen.tflite"),
        ("models", chosen.keras_name, "chosen.keras"),
    ):
        replace_file(folder / target, fetch(folder / sub / name).read_bytes())
    replace_file(folder / "search.json", to_json(results).encode())
    replace_file(folder / "search.csv", to_csv(results).encode())
    replace_file(folder / "search.html", render(results).encode())


def show(results: SearchResults, folder: Path, console: Console) -> None:
    """Print the front and what was chosen."""
    console.print(terminal_table(table_rows(results.front, results)))
    baseline = results.baseline
    lines = [
        f"linear baseline: {100 * baseline.test_accuracy:.1f}%, {baseline.description}",
        *([] if results.reference is None else [_reference_line(results.reference)]),
        "",
        *results.sentences,
        *results.notes,
        f"{folder / 'chosen.tflite'}, {folder / 'search.html'}",
    ]
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False)


def _reference_line(reference: Reference) -> str:
    return (
        f"teacher {reference.name}, {reference.quantize}: "
        f"{reference.cost.file_bytes / 1024:.1f} KiB, {reference.cost.step_us_p50:.1f} µs, "
        f"{100 * reference.test_accuracy:.1f}% on the test data"
    )
