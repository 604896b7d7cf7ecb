"""Search the smallest model for a data set and a device: `kgated search`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from kgated.atomic_write import prepare_folder
from kgated.search.measurement.device import Device, open_device
from kgated.search.measurement.files import FileBuilder, check_reachable
from kgated.search.options import SearchOptions, check_same, check_task, possible_space
from kgated.search.report.build import publish, report, show
from kgated.search.report.results import SearchResults
from kgated.search.trials.outcome import Outcome
from kgated.search.trials.queue import SearchQueue
from kgated.search.trials.study import SearchStudy
from kgated.search.trials.teacher import AUTO, Teacher, TeacherStudy, load_teacher
from kgated.study.console import log_to
from kgated.study.options import forget_study, require_packages
from kgated.study.splits import Parts
from kgated.study.storage.errors import storage_errors
from kgated.study.tasks.metrics import Metric


@storage_errors()
def search_models(
    data: str | Path,
    out: str | Path,
    options: SearchOptions,
    *,
    test: str | Path | None = None,
    console: Console | None = None,
) -> SearchResults:
    """Search the smallest model that meets the limits of a device.

    Writes `chosen.tflite`, `chosen.keras`, `search.json`, `search.csv` and `search.html` to `out`,
    all trained models to `out/models`, their files to `out/files` and the trials to
    `out/trials.journal`. The same call continues after a kill; in several processes it shares the
    trials.

    Args:
        data: an `.npz` data set; see `choose_task` for the tasks.
        out: the folder to write to; it is made if it does not exist.
        options: the limits, and what is searched.
        test: a data set to test on; None: a fifth of each class of `data`.
        console: where to print; None: the terminal.

    Returns:
        The results.

    Raises:
        ValueError: data that can't be searched on, limits that no design meets, a folder with a
            search on other data.
        OSError: `out` can't be written to, or the device or the database can't be reached.
        ImportError: a package of the extra `compare` is missing.
    """
    console = console or Console()
    require_packages()
    parts = options.load_parts(data, test)
    check_task(parts.task, options)
    options = replace(options, space=possible_space(options.space, parts))
    teacher = None
    if options.teacher not in (None, AUTO):
        teacher = _soft(load_teacher(Path(str(options.teacher))), parts, options)
    device = open_device(options.device, options.runner)
    try:
        # After the device, so that one that cannot be reached leaves nothing behind.
        folder = prepare_folder(out)
        results = _search(Path(data).stem, parts, folder, options, device, teacher, console)
    finally:
        device.close()
    show(results, folder, console)
    return results


def _search(
    name: str,
    parts: Parts,
    folder: Path,
    options: SearchOptions,
    device: Device,
    teacher: Teacher | None,
    console: Console,
) -> SearchResults:
    for sub in ("models", "files", "probes"):
        (folder / sub).mkdir(exist_ok=True)
    period_s = options.period_of(parts)

    queue = SearchQueue(folder, options.storage)
    try:
        check_same(queue, parts, options)
        device_lock = partial(queue.hold, "device")
        builder = FileBuilder(device, parts, period_s, folder, device_lock, queue.worker)
        with console.status("checking whether the limits can be met"):
            _check_limits(builder, queue, options)
        check_same(queue, parts, options)  # another process may have forgotten them
        if options.teacher == AUTO:
            teacher = _auto_teacher(queue, parts, options, folder, log_to(console))
        study = SearchStudy(
            queue, options.space, builder, options.budget, options.effort, teacher, log_to(console)
        )
        with _progress(options.effort.trials, parts.task.metric, console) as progress:
            study.run(progress)
        with queue.reporting(), console.status("measuring the front on the test data"):
            results = report(name, builder, study, options, teacher)
            publish(results, folder, queue.backend.fetch_file)
    finally:
        queue.close()
    return results


def _check_limits(builder: FileBuilder, queue: SearchQueue, options: SearchOptions) -> None:
    """Refuse limits that no design meets; the folder then takes a search with other limits."""
    try:
        check_reachable(builder, options.space, options.budget)
    except ValueError:
        forget_study(queue)
        raise


def _soft(model: Any, parts: Parts, options: SearchOptions) -> Teacher:
    return Teacher.of(model, parts, options.temperature, options.soft_weight)


def _auto_teacher(
    queue: SearchQueue,
    parts: Parts,
    options: SearchOptions,
    folder: Path,
    log: Callable[[str], None],
) -> Teacher:
    effort = options.effort
    study = TeacherStudy(queue, parts, effort.epochs, effort.patience, folder / "models", log)
    return _soft(study.run(), parts, options)


@contextmanager
def _progress(
    trials: int, metric: Metric, console: Console
) -> Iterator[Callable[[list[Outcome]], None]]:
    """A bar with the number of trained designs and the best of them."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task("search", total=trials)

        def update(outcomes: list[Outcome]) -> None:
            best = max(outcomes, key=lambda outcome: outcome.score, default=None)
            text = "search" if best is None else f"search, best {metric.text(best.value)}"
            bar.update(task, completed=len(outcomes), description=text)

        yield update
