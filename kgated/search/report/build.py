"""The end of a search: the choice, the front on the test data, the files of the report."""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from kgated.atomic_write import replace_file
from kgated.errors import ConversionError
from kgated.search.choice import Choice, Story, choose
from kgated.search.design.space import Design
from kgated.search.measurement.files import Workshop
from kgated.search.options import SearchOptions
from kgated.search.report.page import baseline_line, render, table_rows
from kgated.search.report.results import Reference, SearchResults, to_csv, to_json
from kgated.search.trials.outcome import Outcome, Rejected, front
from kgated.search.trials.study import SearchStudy
from kgated.search.trials.teacher import Teacher
from kgated.study.console import print_lines, terminal_table
from kgated.study.results import Simple, data_fields, this_machine
from kgated.study.splits import Parts
from kgated.study.tasks.metrics import Metric

REFERENCE_RECIPE = "dynamic"
TABLE_WIDTH = 120


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
    parts, task = workshop.parts, workshop.parts.task
    choice, best = choose(outcomes, budget, options.goal, task.metric), front(outcomes, budget)
    tests = _on_test_data([*best, choice.outcome], workshop, study)
    story = _story(choice, outcomes, rejected, workshop, options, tests[choice.outcome.name])
    reference = None if teacher is None else _reference(teacher, workshop)
    return SearchResults(
        **data_fields(name, parts, workshop.period_s),
        device=workshop.device.name,
        budget=budget,
        goal=choice.goal,
        reached=choice.reached,
        chosen=choice.outcome,
        front=tuple(best),
        test_values=tests,
        outcomes=tuple(outcomes),
        rejected=tuple(rejected),
        reference=reference,
        baselines=_baselines(parts),
        sentences=(*story.sentences(), *teacher_sentences(reference, story)),
        notes=parts.notes,
        machine=this_machine(),
    )


def _story(
    choice: Choice,
    outcomes: list[Outcome],
    rejected: list[Rejected],
    workshop: Workshop,
    options: SearchOptions,
    test: float,
) -> Story:
    task = workshop.parts.task
    decisions = len(workshop.parts.test) if task.has_classes and not task.each else None
    return Story(choice, outcomes, rejected, options.budget, task.metric, test, decisions)


def teacher_sentences(reference: Reference | None, story: Story) -> tuple[str, ...]:
    """A sentence where the teacher's file meets the limits and is better than the chosen one."""
    chosen, metric = story.choice.outcome, story.metric
    if reference is None or not reference.cost.fits(story.budget):
        return ()
    if metric.gain(reference.validation_value, chosen.value) <= 0.0:
        return ()
    return (
        f"The teacher's own file meets the limits too, and is better: {reference.name} by "
        f"{reference.quantize} with {reference.cost.size(story.budget) / 1024:.1f} KiB, "
        f"{metric.title} {metric.text(reference.validation_value)} on validation, "
        f"{metric.text(reference.test_value)} on the test data: files/teacher.tflite. More trials "
        "or wider designs may find a smaller one that is as good.",
    )


def _baselines(parts: Parts) -> tuple[Simple, ...]:
    """The simple models of the task on the test data."""
    task = parts.task
    return tuple(
        Simple(
            reference.name,
            reference.description,
            task.score(reference.outputs, parts.test).value(task.metric),
        )
        for reference in task.baselines(parts.development, parts.test, parts.outputs)
    )


def _on_test_data(
    outcomes: list[Outcome], workshop: Workshop, study: SearchStudy
) -> dict[str, float]:
    """The metric of each file on the test data, by name of its outcome."""
    values, fetch = {}, study.queue.backend.fetch_file
    for outcome in dict.fromkeys(outcomes):
        path = fetch(workshop.folder / "files" / outcome.file_name)
        values[outcome.name] = workshop.measure(path, "test")[1]
    return values


def _reference(teacher: Teacher, workshop: Workshop) -> Reference | None:
    """The teacher's own file; None where it can't be converted to a stream, or be run."""
    path = workshop.folder / "files" / "teacher.tflite"
    design = Design("teacher", 0, quantize=REFERENCE_RECIPE)
    try:
        workshop.convert(teacher.model, design, path, workshop.parts.train)
        cost, validation = workshop.measure(path, "validation")
        test = workshop.measure(path, "test")[1]
    except (ConversionError, RuntimeError):
        return None
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
    table = terminal_table(table_rows(results.front, results))
    console.print(table, width=max(console.width, TABLE_WIDTH), crop=False)
    metric = results.metric
    lines = [
        *(baseline_line(simple, metric) for simple in results.baselines),
        *([] if results.reference is None else [_reference_line(results.reference, metric)]),
        "",
        *results.sentences,
        *results.notes,
        f"{folder / 'chosen.tflite'}, {folder / 'search.html'}",
    ]
    print_lines(console, lines)


def _reference_line(reference: Reference, metric: Metric) -> str:
    return (
        f"teacher {reference.name}, {reference.quantize}: "
        f"{reference.cost.file_bytes / 1024:.1f} KiB, {reference.cost.step_us_p50:.1f} µs, "
        f"{metric.text(reference.test_value)} on the test data"
    )
