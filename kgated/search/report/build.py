"""The report of a search: chooses a file, measures the front on the test data, writes files."""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from kgated.atomic_write import replace_file
from kgated.errors import ConversionError
from kgated.search.choice import Choice, Explanation, choose
from kgated.search.design.space import Design
from kgated.search.measurement.files import FileBuilder
from kgated.search.options import SearchOptions
from kgated.search.report.page import baseline_line, render, table_rows
from kgated.search.report.results import SearchResults, TeacherResult, to_csv, to_json
from kgated.search.trials.outcome import Outcome, Rejected, front
from kgated.search.trials.study import SearchStudy
from kgated.search.trials.teacher import Teacher
from kgated.study.console import print_lines, terminal_table
from kgated.study.results import BaselineValue, data_fields, this_machine
from kgated.study.splits import Parts
from kgated.study.tasks.metrics import Metric

REFERENCE_RECIPE = "dynamic"
TABLE_WIDTH = 120


def report(
    name: str,
    builder: FileBuilder,
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
    parts, task = builder.parts, builder.parts.task
    choice, best = choose(outcomes, budget, options.goal, task.metric), front(outcomes, budget)
    tests = _on_test_data([*best, choice.outcome], builder, study)
    explanation = _explanation(
        choice, outcomes, rejected, builder, options, tests[choice.outcome.name]
    )
    reference = None if teacher is None else _reference(teacher, builder)
    return SearchResults(
        **data_fields(name, parts, builder.period_s),
        device=builder.device.name,
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
        sentences=(*explanation.sentences(), *teacher_sentences(reference, explanation)),
        notes=parts.notes,
        machine=this_machine(),
    )


def _explanation(
    choice: Choice,
    outcomes: list[Outcome],
    rejected: list[Rejected],
    builder: FileBuilder,
    options: SearchOptions,
    test: float,
) -> Explanation:
    task = builder.parts.task
    decisions = len(builder.parts.test) if task.has_classes and not task.per_frame else None
    return Explanation(choice, outcomes, rejected, options.budget, task.metric, test, decisions)


def teacher_sentences(reference: TeacherResult | None, explanation: Explanation) -> tuple[str, ...]:
    """A sentence where the teacher's file meets the limits and is better than the chosen one."""
    chosen, metric = explanation.choice.outcome, explanation.metric
    if reference is None or not reference.cost.fits(explanation.budget):
        return ()
    if metric.gain(reference.validation_value, chosen.value) <= 0.0:
        return ()
    return (
        f"The teacher's own file meets the limits too, and is better: {reference.name} by "
        f"{reference.quantize} with {reference.cost.size(explanation.budget) / 1024:.1f} KiB, "
        f"{metric.named(reference.validation_value)} on validation, "
        f"{metric.text(reference.test_value)} on the test data: files/teacher.tflite. More trials "
        "or wider designs may find a smaller one that is as good.",
    )


def _baselines(parts: Parts) -> tuple[BaselineValue, ...]:
    """The simple models of the task on the test data."""
    task = parts.task
    return tuple(
        BaselineValue(
            reference.name,
            reference.description,
            task.score(reference.outputs, parts.test).value(task.metric),
        )
        for reference in task.baselines(parts.development, parts.test, parts.outputs)
    )


def _on_test_data(
    outcomes: list[Outcome], builder: FileBuilder, study: SearchStudy
) -> dict[str, float]:
    """The metric of each file on the test data, by name of its outcome."""
    values, fetch = {}, study.queue.backend.fetch_file
    for outcome in dict.fromkeys(outcomes):
        path = fetch(builder.folder / "files" / outcome.file_name)
        try:
            values[outcome.name] = builder.measure(path, "test")[1]
        except RuntimeError as error:
            raise OSError(
                f"{error}: copy the file back if it is missing or damaged, or name another folder "
                "to train again"
            ) from None
    return values


def _reference(teacher: Teacher, builder: FileBuilder) -> TeacherResult | None:
    """The result of the teacher's file; None if it can't be converted to a stream, or not run."""
    path = builder.folder / "files" / "teacher.tflite"
    design = Design("teacher", 0, quantize=REFERENCE_RECIPE)
    try:
        builder.convert(teacher.model, design, path, builder.parts.train)
        cost, validation = builder.measure(path, "validation")
        test = builder.measure(path, "test")[1]
    except (ConversionError, RuntimeError):
        return None
    return TeacherResult(teacher.name, REFERENCE_RECIPE, cost, validation, test)


def publish(results: SearchResults, folder: Path, fetch: Callable[[Path], Path]) -> None:
    """Write the chosen model, and the results as JSON, CSV and a page.

    Args:
        results: of the search.
        folder: to write to.
        fetch: copies a file of another process into the folder.
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
        *(baseline_line(baseline, metric) for baseline in results.baselines),
        *([] if results.reference is None else [_reference_line(results.reference, metric)]),
        "",
        *results.sentences,
        *results.notes,
        f"{folder / 'chosen.tflite'}, {folder / 'search.html'}",
    ]
    print_lines(console, lines)


def _reference_line(reference: TeacherResult, metric: Metric) -> str:
    return (
        f"teacher {reference.name}, {reference.quantize}: "
        f"{reference.cost.file_bytes / 1024:.1f} KiB, {reference.cost.step_us_p50:.1f} µs, "
        f"{metric.text(reference.test_value)} on the test data"
    )
