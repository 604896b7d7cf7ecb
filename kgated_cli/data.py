"""`kgated data csv` and `kgated data wav`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from kgated_cli.app import app
from kgated_cli.light import import_light

data_app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Make .npz data sets of a folder of files."
)
app.add_typer(data_app, name="data")

Folder = Annotated[Path, typer.Argument(help="A file per recording; also in folders below it.")]
Output = Annotated[
    Path, typer.Argument(help="The .npz file; with --split OUT-train.npz, OUT-test.npz and so on.")
]
LabelPattern = Annotated[
    str | None,
    typer.Option(
        help="Label from the file name: a regular expression with a group (?P<label>...)."
    ),
]
LabelTable = Annotated[
    Path | None,
    typer.Option(help="Labels from a CSV file of file,label or file,start,end,label in seconds."),
]
NoLabels = Annotated[bool, typer.Option("--no-labels", help="Recordings without labels.")]
Classes = Annotated[
    str | None, typer.Option(help="Class names in the order of the labels; else sorted.")
]
Window = Annotated[
    str | None, typer.Option(help="Cut windows: seconds, as 2.0, or frames, as 50f.")
]
Hop = Annotated[str | None, typer.Option(help="From window to window; else the window.")]
WindowLabel = Annotated[
    str, typer.Option(help="Of labels per frame: frame, or one per window: majority, last.")
]
Split = Annotated[
    str | None, typer.Option(help="Parts, as test=0.2,valid=0.1; the rest is for training.")
]
Group = Annotated[
    str,
    typer.Option(help="What stays in one part: recording, folder, or a pattern, as '(p[0-9]+)_'."),
]
Seed = Annotated[int, typer.Option(min=0, help="Of the split.")]
Format = Annotated[
    str, typer.Option(help="npz; or npy: frames in an .npy beside, mapped into memory.")
]


@data_app.command()
def csv(
    folder: Folder,
    output: Output,
    columns: Annotated[
        str | None, typer.Option(help="Features: names or numbers from 1, as ax,ay,5-7. Else all.")
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="Time column: name or number, or none. Else by its name.")
    ] = None,
    time_unit: Annotated[
        str | None, typer.Option(help="s, ms, us or ns. Else by its name.")
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(help="Column with a label per frame: name or number.")
    ] = None,
    label_pattern: LabelPattern = None,
    label_table: LabelTable = None,
    no_labels: NoLabels = False,
    classes: Classes = None,
    delimiter: Annotated[
        str | None, typer.Option(help="One character, or tab, space. Else found.")
    ] = None,
    header: Annotated[
        bool | None, typer.Option("--header/--no-header", help="Names in line 1. Else found.")
    ] = None,
    sample_period_ms: Annotated[
        float | None, typer.Option(help="From row to row, where there is no time column.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Resample to so many frames per second.")
    ] = None,
    window: Window = None,
    hop: Hop = None,
    window_label: WindowLabel = "frame",
    split: Split = None,
    group: Group = "recording",
    seed: Seed = 0,
    format: Format = "npz",  # noqa: A002 - the option's name
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
    options = _options(data, window, hop, window_label, split, group, seed, classes, format)
    _show(data.csv_to_npz(folder, output, reading, labels, options))


@data_app.command()
def wav(
    folder: Folder,
    output: Output,
    rate: Annotated[
        int | None, typer.Option(min=1, help="Samples per second; else those of the files.")
    ] = None,
    features: Annotated[str, typer.Option(help="log-mel, mfcc or pcen.")] = "log-mel",
    mels: Annotated[int, typer.Option(min=1, help="Bands.")] = 40,
    coefficients: Annotated[int, typer.Option(min=1, help="Of mfcc.")] = 13,
    deltas: Annotated[
        int, typer.Option(min=0, max=2, help="1: slopes as features too; 2: and their slopes.")
    ] = 0,
    standardize: Annotated[
        bool, typer.Option("--standardize", help="To mean 0, deviation 1 of the training data.")
    ] = False,
    frame_ms: Annotated[float, typer.Option(help="Milliseconds of sound in a frame.")] = 25.0,
    frame_hop_ms: Annotated[float, typer.Option(help="Milliseconds from frame to frame.")] = 10.0,
    low_hz: Annotated[float, typer.Option(help="Lower limit of the bands.")] = 20.0,
    high_hz: Annotated[
        float | None, typer.Option(help="Upper limit of the bands; else half the rate.")
    ] = None,
    label_pattern: LabelPattern = None,
    label_table: LabelTable = None,
    no_labels: NoLabels = False,
    classes: Classes = None,
    window: Window = None,
    hop: Hop = None,
    window_label: WindowLabel = "frame",
    split: Split = None,
    group: Group = "recording",
    seed: Seed = 0,
    augment: Annotated[
        str | None,
        typer.Option(
            help="Copies for training alone: noise=FOLDER,snr=5:20,gain=-6:6 (dB),shift=0.1 (s),"
            "copies=2,seed=0."
        ),
    ] = None,
    format: Format = "npz",  # noqa: A002 - the option's name
) -> None:
    """Make data sets of WAV and FLAC files: their frames, and the front end that makes them."""
    data = import_light("kgated.data")
    front_end = data.FrontEndOptions(
        rate, features, frame_ms, frame_hop_ms, mels, low_hz, high_hz, coefficients, deltas
    )
    labels = data.LabelOptions(label_pattern, None, label_table, no_labels)
    options = _options(data, window, hop, window_label, split, group, seed, classes, format)
    copies = None if augment is None else data.SoundAugmentation.parse(augment)
    _show(
        data.wav_to_npz(
            folder,
            output,
            front_end,
            labels,
            options,
            standardize=standardize,
            augmentation=copies,
        )
    )


def _options(
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
