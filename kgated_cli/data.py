"""`kgated data csv` and `kgated data wav`."""

from typing import Any

import typer

from kgated_cli import data_options as options
from kgated_cli.app import app
from kgated_cli.light import import_light

data_app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Make .npz data sets of a folder of files."
)
app.add_typer(data_app, name="data")


@data_app.command()
def csv(
    folder: options.Folder,
    output: options.Output,
    columns: options.Columns = None,
    time: options.TimeColumn = None,
    time_unit: options.TimeUnit = None,
    label_column: options.LabelColumn = None,
    label_pattern: options.LabelPattern = None,
    label_table: options.LabelTable = None,
    no_labels: options.NoLabels = False,
    classes: options.Classes = None,
    delimiter: options.Delimiter = None,
    header: options.Header = None,
    sample_period_ms: options.RowPeriod = None,
    rate: options.FrameRate = None,
    window: options.Window = None,
    hop: options.Hop = None,
    window_label: options.WindowLabel = "frame",
    split: options.Split = None,
    group: options.Group = "recording",
    seed: options.Seed = 0,
    format: options.Format = "npz",  # noqa: A002 - the option's name
) -> None:
    """Make data sets of CSV files; labels come from the first folder of each, or by an option."""
    data = import_light("kgated.data")
    reading = data.CsvOptions(
        columns=None if columns is None else tuple(map(str.strip, columns.split(","))),
        time=time,
        time_unit=time_unit,
        delimiter=delimiter,
        header=header,
        sample_period_s=None if sample_period_ms is None else sample_period_ms / 1e3,
        rate=rate,
    )
    labels = data.LabelOptions(label_pattern, label_column, label_table, no_labels)
    build = _build_options(data, window, hop, window_label, split, group, seed, classes, format)
    _show(data.csv_to_npz(folder, output, reading, labels, build))


@data_app.command()
def wav(
    folder: options.Folder,
    output: options.Output,
    rate: options.SampleRate = None,
    features: options.Features = "log-mel",
    mels: options.Mels = 40,
    coefficients: options.Coefficients = 13,
    deltas: options.Deltas = 0,
    standardize: options.Standardize = False,
    frame_ms: options.FrameTime = 25.0,
    frame_hop_ms: options.FrameHop = 10.0,
    low_hz: options.LowestFrequency = 20.0,
    high_hz: options.HighestFrequency = None,
    label_pattern: options.LabelPattern = None,
    label_table: options.LabelTable = None,
    no_labels: options.NoLabels = False,
    classes: options.Classes = None,
    window: options.Window = None,
    hop: options.Hop = None,
    window_label: options.WindowLabel = "frame",
    split: options.Split = None,
    group: options.Group = "recording",
    seed: options.Seed = 0,
    augment: options.Copies = None,
    format: options.Format = "npz",  # noqa: A002 - the option's name
) -> None:
    """Make data sets of WAV and FLAC files: their frames, and the front end that makes them."""
    data = import_light("kgated.data")
    front_end = data.FrontEndOptions(
        rate, features, frame_ms, frame_hop_ms, mels, low_hz, high_hz, coefficients, deltas
    )
    labels = data.LabelOptions(label_pattern, None, label_table, no_labels)
    build = _build_options(data, window, hop, window_label, split, group, seed, classes, format)
    copies = None if augment is None else data.SoundAugmentation.parse(augment)
    changes = {"standardize": standardize, "augmentation": copies}
    _show(data.wav_to_npz(folder, output, front_end, labels, build, **changes))


def _build_options(
    data: Any,
    window: str | None,
    hop: str | None,
    window_label: str,
    split: str | None,
    group: str,
    seed: int,
    classes: str | None,
    storage: str,
) -> Any:
    return data.BuildOptions(
        window=window,
        hop=hop,
        window_label=window_label,
        split=None if split is None else data.parse_split(split),
        group=group,
        seed=seed,
        classes=None if classes is None else tuple(map(str.strip, classes.split(","))),
        format=storage,
    )


def _show(parts: list[Any]) -> None:
    for part in parts:
        counts = ", ".join(f"{name} {count}" for name, count in part.classes.items())
        classes = f"; {counts}" if counts else ""
        typer.echo(f"{part.path}: {part.sequences} sequences, {part.frames} frames{classes}")
