"""Options of `kgated search`, with their help."""

from pathlib import Path
from typing import Annotated

import typer

MaxKib = Annotated[float, typer.Option(help="Largest file, in units of 1024 bytes.")]
DeadlineUs = Annotated[
    float | None, typer.Option(help="Microseconds that 99% of the steps may take; else any.")
]
SearchDevice = Annotated[
    str, typer.Option(help="local, or USER@HOST that ssh reaches without a password.")
]
RunnerCommand = Annotated[str, typer.Option(help="The command kgated-edge on that host.")]
SearchedCells = Annotated[
    str, typer.Option(help="Cells: rnn (a plain one), lstm, peephole, gru and so on.")
]
Strides = Annotated[str, typer.Option(help="Frames whose mean is a step.")]
Ranks = Annotated[str, typer.Option(help="Divisors of the rank of the kernels; 1: full rank.")]
Sparsities = Annotated[
    str, typer.Option(help="Fractions of the weights to prune; use it with --compressed.")
]
SearchedRecipes = Annotated[str, typer.Option(help="Recipes, as `convert --quantize`.")]
Compressed = Annotated[
    bool, typer.Option("--compressed", help="Count the size after gzip, as an update is sent.")
]
TeacherModel = Annotated[
    str | None,
    typer.Option(help="A .keras file that the models learn from too, or auto: train a big one."),
]
Temperature = Annotated[float, typer.Option(help="Softens the teacher's outputs.")]
SoftWeight = Annotated[float, typer.Option(help="The teacher's part of the loss, 0 to 1.")]
SearchTrials = Annotated[int, typer.Option(min=1, help="Models to train, at most.")]
SearchMinutes = Annotated[float, typer.Option(help="Of all trials, in all processes together.")]
MinAccuracy = Annotated[
    float | None, typer.Option(help="On the validation data, 0 to 1; else by --tolerance.")
]
AccuracyTolerance = Annotated[
    float,
    typer.Option(help="Points, or % of an error, below the best file that meets the limits."),
]
SearchFolder = Annotated[
    Path, typer.Option(help="For the model, the report and the trials: the same call resumes.")
]
