"""From files to events: train, convert, tune, and measure on a stream never tuned on."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from kgated_edge import EventMetrics
from kgated_edge.evaluation.dataset import SequenceData, load_npz
from kgated_edge.evaluation.event_matching import COLLAR_S
from kgated_edge.events.scores import score_labels, step_seconds
from kgated_edge.format.event_settings import EventSettings
from kgated_edge.format.reader import read_manifest
from rich.console import Console
from rich.table import Table

from kgated.atomic_write import prepare_folder, replace_file
from kgated.deploy import to_tflite
from kgated.models import train_streaming
from kgated.optional_imports import require_report
from kgated.training import Plan
from kgated.tuning import evaluate, raw_decisions, store, tune, write_section
from kgated.tuning.page import metric_texts, render

TRAIN, TUNING, TESTING = "train", "tuning", "testing"
_SEQUENCES, _FRAMES = 20, 200


@dataclass(frozen=True)
class EventDemo:
    """What a demo has measured on its test stream, by the device runner.

    Attributes:
        name: of the demo.
        before: events by the largest score of each frame.
        after: events by the settings of `tune`.
        settings: these settings.
        seconds: duration of all.
    """

    name: str
    before: EventMetrics
    after: EventMetrics
    settings: EventSettings
    seconds: float

    @property
    def fewer(self) -> float | None:
        """How many times fewer false accepts; None if there are none after `tune`."""
        if not self.after.false_accepts:
            return None
        return self.before.false_accepts / self.after.false_accepts


@dataclass(frozen=True)
class EventTask:
    """What differs between the demos.

    Attributes:
        name: of the demo.
        title: of the page.
        note: what the data are.
        units: width of the recurrent layer.
        plan: of the training.
        steps: frames of a chunk in training.
        stride: frames per answer of the model.
        max_false_accepts_per_hour: for `tune`.
        smoothing_s: for `tune`.
        refractory_s: for `tune`.
        min_duration_s: for `tune`.
        keep_misses: for `tune`.
        dropout: the fraction of the recurrent layer's outputs dropped in training.
    """

    name: str
    title: str
    note: str
    units: int
    plan: Plan
    steps: int
    max_false_accepts_per_hour: float
    smoothing_s: tuple[float, ...]
    refractory_s: float
    min_duration_s: float = 0.0
    keep_misses: bool = False
    dropout: float = 0.3
    stride: int = 1


def run_event_demo(
    task: EventTask,
    out_dir: str | Path,
    write_recordings: Callable[[Path], None],
    make_data: Callable[[Path], None],
    console: Console | None = None,
) -> EventDemo:
    """Runs a demo: recordings, data set, training, conversion, `tune`, test, page.

    Args:
        task: what is special about it.
        out_dir: the folder to write to.
        write_recordings: writes the folders train, tuning and testing, and a table of events
            for each.
        make_data: makes train.npz of the folder train, by `kgated.data`.
        console: where to print; None: the terminal.

    Raises:
        OSError: `out_dir` can't be made or written to.
        ImportError: a package of the extra `report` is missing.
    """
    folder, console = prepare_folder(out_dir), console or Console()
    require_report()
    start, model = time.perf_counter(), folder / f"{task.name}.tflite"
    with console.status("writing recordings"):
        write_recordings(folder)
        make_data(folder)
    _train_and_convert(task, folder, model, console)
    with console.status("tuning and testing, by the device runner"):
        tuned = tune(
            model,
            folder / TUNING,
            folder / f"{TUNING}.csv",
            max_false_accepts_per_hour=task.max_false_accepts_per_hour,
            keep_misses=task.keep_misses,
            smoothing_s=task.smoothing_s,
            refractory_s=task.refractory_s,
            min_duration_s=task.min_duration_s,
        )
        write_section(model, "events", tuned.settings.to_plain())
        before, after = measured(model, folder, tuned.settings)
    result = EventDemo(task.name, before, after, tuned.settings, time.perf_counter() - start)
    page = render(tuned, task.title, test=(before, after), note=task.note)
    replace_file(folder / "report.html", page.encode())
    replace_file(folder / "results.json", _to_json(result).encode())
    show(result, console)
    console.print(f"{folder / 'report.html'}, after {result.seconds:.0f} s", soft_wrap=True)
    return result


def _train_and_convert(task: EventTask, folder: Path, model: Path, console: Console) -> None:
    """Train on train.npz of a folder, and write the model as `.keras` and as `.tflite`."""
    import keras

    saved = folder / f"{task.name}.keras"
    options: dict[str, Any] = {"units": task.units, "steps": task.steps, "plan": task.plan}
    options |= {"dropout": task.dropout, "stride": task.stride}
    history = train_streaming(folder / "train.npz", saved, cell="GRU", quiet=True, **options)
    accuracy = max(history.history["val_accuracy"])
    console.print(f"trained: {100 * accuracy:.1f}% of the validation frames", soft_wrap=True)
    trained = keras.saving.load_model(saved, compile=False)
    to_tflite(trained, model, calibration=beginnings(folder / "train.npz"))


def beginnings(path: Path) -> SequenceData:
    """The beginnings of some recordings; the check of a conversion need not hear all of them."""
    data = load_npz(path)
    lengths = np.minimum(data.lengths[:_SEQUENCES], _FRAMES)
    x = np.asarray(data.x[:_SEQUENCES, :_FRAMES], np.float32)
    return SequenceData(x, lengths, info=data.info)


def measured(
    model: Path, folder: Path, settings: EventSettings
) -> tuple[EventMetrics, EventMetrics]:
    """The metrics on the test streams: of raw decisions, and of settings."""
    manifest = read_manifest(model)
    names, step_s = score_labels(manifest, "output"), step_seconds(manifest, None)
    table = folder / f"{TESTING}.csv"
    stored = store(model, folder / TESTING, table, "output", names, step_s, {})
    return (
        raw_decisions(stored, names, settings.background, step_s, COLLAR_S),
        evaluate(stored, names, settings, step_s, COLLAR_S),
    )


def show(result: EventDemo, console: Console) -> None:
    """Prints the table of the test."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("test stream", "raw argmax", "after tune"):
        table.add_column(name, justify="left" if name == "test stream" else "right")
    before, after = metric_texts(result.before), metric_texts(result.after)
    for name, text in before.items():
        table.add_row(name, text, after[name])
    console.print(table)
    hours = result.after.hours
    fewer = result.fewer
    times = f"{fewer:.1f} times fewer" if fewer is not None else "none left"
    console.print(f"false accepts after tune: {times}, in {hours:.2f} hours", soft_wrap=True)


def _to_json(result: EventDemo) -> str:
    document = {
        "name": result.name,
        "before": asdict(result.before),
        "after": asdict(result.after),
        "events": result.settings.to_plain(),
        "false_accepts_fewer_times": result.fewer,
        "seconds": result.seconds,
    }
    return json.dumps(document, indent=1, default=lambda value: value._asdict())
