"""Arguments and options of the commands that read long recordings, with their help."""

from pathlib import Path
from typing import Annotated

import typer

EventModelFile = Annotated[Path, typer.Argument(help="A .tflite file of `kgated convert`.")]
Recordings = Annotated[
    Path, typer.Argument(help="A folder of long recordings (.wav, .csv, .npy, .npz), or one.")
]
EventLabels = Annotated[
    Path | None,
    typer.Argument(
        help="Their events: a CSV file with file, start, end, label, or an Audacity label "
        "track (.txt) of the only recording. Not with --false-alarms-per-day."
    ),
]
MaxFalseAccepts = Annotated[float, typer.Option(help="Of all classes together.")]
KeepMisses = Annotated[
    bool,
    typer.Option(
        "--keep-misses",
        help="The fewest false accepts without more misses than raw decisions have, in place of "
        "the fewest misses.",
    ),
]
FalseAlarms = Annotated[
    float | None,
    typer.Option(help="Of an anomaly detector: recordings are normal, without labels."),
]
Score = Annotated[
    str | None,
    typer.Option(
        help="output: the scores of classes. reconstruction, prediction: the error of an "
        "output that repeats the frame, or predicts the next."
    ),
]
SmoothingTimes = Annotated[
    list[float] | None, typer.Option(help="A time to try, in seconds; may be given again.")
]
MinDuration = Annotated[float, typer.Option(help="Shortest event in seconds.")]
RefractoryTime = Annotated[float, typer.Option(help="Pause after an event of a class, in seconds.")]
Collar = Annotated[float, typer.Option(help="Tolerance of the labels in seconds.")]
FramePeriod = Annotated[
    float | None, typer.Option(help="Milliseconds between two frames; else the model's.")
]
Columns = Annotated[
    str | None, typer.Option(help="Columns of csv, by name, or number from 1; else all.")
]
TimeColumn = Annotated[
    str | None, typer.Option(help="Column of csv with the time; else one called time.")
]
OnBadFrame = Annotated[
    str, typer.Option(help="refuse, or hold the last good frame for bad lines, NaN and inf.")
]
SoundRate = Annotated[
    int | None, typer.Option(min=1, help="Samples per second in training; else the file's.")
]
FrameSamples = Annotated[int | None, typer.Option(min=1, help="Samples per frame of audio.")]
HopSamples = Annotated[int | None, typer.Option(min=1, help="Samples from frame to frame.")]
LowHz = Annotated[float | None, typer.Option(min=0, help="Lower limit of the bands of audio.")]
HighHz = Annotated[float | None, typer.Option(min=0, help="Upper limit of the bands of audio.")]
TradeOffPage = Annotated[
    Path | None, typer.Option(help="Write the trade-off as an .html page here.")
]
DryRun = Annotated[bool, typer.Option(help="Leave the file as it is.")]
