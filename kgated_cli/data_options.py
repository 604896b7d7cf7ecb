"""Arguments and options of `kgated data`, with their help."""

from pathlib import Path
from typing import Annotated

import typer

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

Columns = Annotated[
    str | None, typer.Option(help="Features: names or numbers from 1, as ax,ay,5-7. Else all.")
]
TimeColumn = Annotated[
    str | None, typer.Option(help="Time column: name or number, or none. Else by its name.")
]
TimeUnit = Annotated[str | None, typer.Option(help="s, ms, us or ns. Else by its name.")]
LabelColumn = Annotated[
    str | None, typer.Option(help="Column with a label per frame: name or number.")
]
Delimiter = Annotated[str | None, typer.Option(help="One character, or tab, space. Else found.")]
Header = Annotated[
    bool | None, typer.Option("--header/--no-header", help="Names in line 1. Else found.")
]
RowPeriod = Annotated[
    float | None, typer.Option(help="From row to row, where there is no time column.")
]
FrameRate = Annotated[float | None, typer.Option(help="Resample to so many frames per second.")]

SampleRate = Annotated[
    int | None, typer.Option(min=1, help="Samples per second; else those of the files.")
]
Features = Annotated[str, typer.Option(help="log-mel, mfcc or pcen.")]
Mels = Annotated[int, typer.Option(min=1, help="Bands.")]
Coefficients = Annotated[int, typer.Option(min=1, help="Of mfcc.")]
Deltas = Annotated[
    int, typer.Option(min=0, max=2, help="1: slopes as features too; 2: and their slopes.")
]
Standardize = Annotated[
    bool, typer.Option("--standardize", help="To mean 0, deviation 1 of the training data.")
]
FrameTime = Annotated[float, typer.Option(help="Milliseconds of sound in a frame.")]
FrameHop = Annotated[float, typer.Option(help="Milliseconds from frame to frame.")]
LowestFrequency = Annotated[float, typer.Option(help="Lower limit of the bands.")]
HighestFrequency = Annotated[
    float | None, typer.Option(help="Upper limit of the bands; else half the rate.")
]
Copies = Annotated[
    str | None,
    typer.Option(
        help="Copies for training alone: noise=FOLDER,snr=5:20,gain=-6:6 (dB),shift=0.1 (s),"
        "copies=2,seed=0."
    ),
]
