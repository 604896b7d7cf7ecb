"""Compare cells on a data set of one's own: `kgated compare`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from kgated.atomic_write import prepare_folder, replace_file
from kgated.compare.candidate_models import Candidate
from kgated.compare.candidate_study import CandidateStudy, Trained
from kgated.compare.measurement import StudyPaths, measure
from kgated.compare.page import device_rows, render, training_rows
from kgated.compare.recommendation import Evidence, recommend
from kgated.compare.results import (
    BaselineResult,
    CandidateResult,
    Comparison,
    to_csv,
    to_json,
)
from kgated.compare.significance import PairedDifference, compare_pairs
from kgated.compare.training import Budget
from kgated.data import save_npz
from kgated.deploy import Recipe
from kgated.study.console import log_to, print_lines, terminal_table
from kgated.study.options import StudyOptions, check_above_zero, check_same_study, require_packages
from kgated.study.results import data_fields, this_machine
from kgated.study.splits import Parts
from kgated.study.storage.errors import storage_errors
from kgated.study.storage.queue import TrialQueue
from kgated.study.tasks.metrics import Scores


@dataclass(frozen=True)
class CompareOptions(StudyOptions):
    """The options of a comparison, besides the candidates.

    Attributes:
        quantizations: the recipes to convert each candidate by.
        budget_minutes: of training, for all candidates together; each has the same part.
        trials, seeds, epochs, patience: of each candidate; see `Budget`.
        refit: whether the final models learn from the validation data too; see `Budget`.
    """

    quantizations: tuple[str, ...] = ("none", "dynamic", "int8")
    budget_minutes: float = 20.0
    trials: int = 8
    seeds: int = 3
    epochs: int = 100
    patience: int = 15
    refit: bool = True

    def __post_init__(self) -> None:
        for quantize in self.quantizations:
            Recipe(quantize=quantize)
        if not self.quantizations:
            raise ValueError("`quantizations` must name at least one recipe")
        names = ("budget_minutes", "trials", "seeds", "epochs", "patience", "period_s")
        check_above_zero({name: getattr(self, name) for name in names})


@storage_errors()
def compare_candidates(
    data: str | Path,
    out: str | Path,
    models: Sequence[Candidate],
    options: CompareOptions | None = None,
    *,
    test: str | Path | None = None,
    console: Console | None = None,
) -> Comparison:
    """Train each candidate under the same budget, convert it, run it, and write the report.

    Writes `compare.json`, `compare.csv` and `compare.html` to `out`, the trained models to
    `out/models`, the files to `out/files` and the trials to `out/trials.journal`. The same call
    continues after a kill; the same call in several processes shares the trials.

    Args:
        data: an `.npz` data set; see `choose_task` for the tasks.
        out: the folder to write to; it is made if it does not exist.
        models: the candidates, see `candidates`.
        options: the rest; None: the defaults.
        test: a data set to test on; None: a fifth of `data`.
        console: where to print; None: the terminal.

    Returns:
        The results.

    Raises:
        ValueError: data that can't be compared on, or a storage with a comparison of other options.
        OSError: `out` can't be written to, the disk is full, or the database can't be reached, is
            lost or is full.
        ImportError: a package of the extra `compare` is missing.
    """
    options, console = options or CompareOptions(), console or Console()
    require_packages()
    parts = options.load_parts(data, test)
    _check_models(models, parts)
    folder = prepare_folder(out)
    paths = StudyPaths(folder / "models", folder / "files", folder / "test.npz")
    for path in (paths.models, paths.files):
        path.mkdir(exist_ok=True)
    queue = TrialQueue(folder, options.storage)
    try:
        _check_same(queue, parts, options)
        trained = _train(queue, models, parts, options, paths.models, console)
        with queue.reporting(), console.status("converting, and running on the device runner"):
            save_npz(paths.test, parts.test)
            results = _report(Path(data).stem, trained, parts, options, paths, queue)
            publish(results, folder)
    finally:
        queue.close()
    show(results, folder, console)
    return results


def _check_models(models: Sequence[Candidate], parts: Parts) -> None:
    """Refuse bidirectional models for next-token prediction: they see the next token."""
    if parts.task.predicts_next and any(model.bidirectional for model in models):
        raise ValueError(
            "a bidirectional model sees the token that it predicts: leave --bidirectional out"
        )


def _train(
    queue: TrialQueue,
    models: Sequence[Candidate],
    parts: Parts,
    options: CompareOptions,
    folder: Path,
    console: Console,
) -> list[Trained]:
    budget = Budget(
        60.0 * options.budget_minutes / len(models),
        options.trials,
        options.seeds,
        options.epochs,
        options.patience,
        options.refit,
    )

    log = log_to(console)
    with console.status("training") as status:
        return [
            CandidateStudy(queue, model, parts, budget, folder, log, status.update).run()
            for model in models
        ]


def _check_same(queue: TrialQueue, parts: Parts, options: CompareOptions) -> None:
    """Refuse a storage with trials of other data or options; store those of a new comparison."""
    details = {
        "budget_minutes": options.budget_minutes,
        "trials": options.trials,
        "epochs": options.epochs,
        "patience": options.patience,
        "refit": options.refit,
    }
    check_same_study(queue, parts, options, details, "a comparison with other options")


def _report(
    name: str,
    trained: list[Trained],
    parts: Parts,
    options: CompareOptions,
    paths: StudyPaths,
    queue: TrialQueue,
) -> Comparison:
    """Measure the trained candidates and compare them."""
    period_s = options.period_of(parts)
    fetch = queue.backend.fetch_file
    measured = [
        measure(candidate, parts, options.quantizations, period_s, paths, fetch)
        for candidate in trained
    ]
    metric = parts.task.metric
    results = tuple(result for result, _ in measured)
    best = max(results, key=lambda result: metric.gain(result.value, 0.0))
    scores = {result.name: of_model for result, of_model in measured}
    against = _against(best.name, scores, parts)
    baselines = _baselines(parts, scores[best.name])
    evidence = Evidence(metric, results, best, against, baselines)
    return Comparison(
        **data_fields(name, parts, period_s),
        budget_s=60.0 * options.budget_minutes / len(trained),
        candidates=results,
        best=best.name,
        against_best=against,
        baselines=baselines,
        recommended=evidence.choice.name,
        recommendation=recommend(evidence),
        notes=(*parts.notes, *_training_notes(results)),
        machine=this_machine(),
    )


def _against(best: str, scores: dict[str, Scores], parts: Parts) -> dict[str, PairedDifference]:
    """The best candidate compared with each other one, by name."""
    metric, groups = parts.task.metric, parts.test.groups
    return {
        name: compare_pairs(scores[best], scores[name], metric, groups)
        for name in scores
        if name != best
    }


def _baselines(parts: Parts, best: Scores) -> tuple[BaselineResult, ...]:
    """The simple models of the task on the test set, and the best candidate against each."""
    task, results = parts.task, []
    for reference in task.baselines(parts.development, parts.test, parts.outputs):
        scores = task.score(reference.outputs, parts.test)
        pair = compare_pairs(best, scores, task.metric, parts.test.groups)
        value = scores.value(task.metric)
        results.append(BaselineResult(reference.name, reference.description, value, pair))
    return tuple(results)


def _training_notes(results: tuple[CandidateResult, ...]) -> list[str]:
    names = [result.name for result in results if result.out_of_time]
    if not names:
        return []
    return [
        f"The time ended or shortened a training of {', '.join(names)}: with more "
        "--budget-minutes they may become better."
    ]


def publish(results: Comparison, folder: Path) -> None:
    """Write the results as JSON, CSV and a page."""
    replace_file(folder / "compare.json", to_json(results).encode())
    replace_file(folder / "compare.csv", to_csv(results).encode())
    replace_file(folder / "compare.html", render(results).encode())


def failures(results: Comparison) -> list[tuple[str, str, str]]:
    """(candidate, recipe, reason) of each failed conversion or check."""
    return [
        (candidate.name, device.quantize, device.failure)
        for candidate in results.candidates
        for device in candidate.devices
        if device.failure is not None
    ]


def show(results: Comparison, folder: Path, console: Console) -> None:
    """Print the tables and the recommendation."""
    console.print(terminal_table(training_rows(results)))
    console.print(terminal_table(device_rows(results)))
    lines = [
        *(f"{name}, {quantize}: {reason}" for name, quantize, reason in failures(results)),
        *(f"{b.name}: {results.metric.text(b.value)}, {b.description}" for b in results.baselines),
        "",
        *results.recommendation,
        *results.notes,
        f"{folder / 'compare.html'}",
    ]
    print_lines(console, lines)
