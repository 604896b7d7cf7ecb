"""`kgated train` and `kgated demo`."""

from pathlib import Path
from typing import Annotated

import typer

from kgated_cli.app import app


@app.command()
def train(
    data: Annotated[Path, typer.Argument(help="Sequences with labels (.npz).")],
    output: Annotated[Path, typer.Argument(help="The .keras file to write.")],
    validation: Annotated[
        Path | None, typer.Option(help="Sequences to choose the weights by. Else a fifth of DATA.")
    ] = None,
    cell: Annotated[str, typer.Option(help="LSTM, PeepholeLSTM or GRU.")] = "LSTM",
    units: Annotated[int, typer.Option(min=1, help="Width of each recurrent layer.")] = 64,
    layers: Annotated[int, typer.Option(min=1, help="Recurrent layers.")] = 1,
    dropout: Annotated[float, typer.Option(help="After each recurrent layer.")] = 0.3,
    epochs: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    patience: Annotated[
        int, typer.Option(min=1, help="Stop after so many epochs without a lower validation loss.")
    ] = 25,
    batch_size: Annotated[int, typer.Option(min=1, help="Sequences per step.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="Adam's at the start.")] = 3e-3,
    clip_norm: Annotated[
        float, typer.Option(help="Scale each step's gradient down to this norm at most.")
    ] = 1.0,
    precision: Annotated[
        str, typer.Option(help="float32, mixed_bfloat16 or mixed_float16 (with a scaled loss).")
    ] = "float32",
    seed: Annotated[int, typer.Option(min=0, help="Of the split, the weights, the order.")] = 0,
    folder: Annotated[
        Path | None,
        typer.Option(help="For log.csv, best.keras and a backup: the same call resumes a kill."),
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Logs for TensorBoard in FOLDER/tensorboard.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Train a classifier of sequences on an .npz data set; write the best model."""
    from kgated.atomic_write import check_writable

    check_writable(output)

    from kgated.models import train_classifier
    from kgated.training import Plan

    plan = Plan(
        epochs=epochs,
        patience=patience,
        batch_size=batch_size,
        learning_rate=learning_rate,
        clip_norm=clip_norm,
        precision=precision,
        seed=seed,
    )
    history = train_classifier(
        data,
        output,
        validation=validation,
        cell=cell,
        units=units,
        layers=layers,
        dropout=dropout,
        plan=plan,
        folder=folder,
        tensorboard=tensorboard,
        quiet=quiet,
    ).history
    best = min(range(len(history["val_loss"])), key=history["val_loss"].__getitem__)
    typer.echo(
        f"{output}: epoch {best + 1} of {len(history['val_loss'])}, validation loss "
        f"{history['val_loss'][best]:.4f}, accuracy {100 * history['val_accuracy'][best]:.2f}%"
    )


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the page, the models and the data.")] = Path(
        "kgated-demo"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Of the split, the weights and the order.")] = 0,
) -> None:
    """Train LSTM, PeepholeLSTM and GRU on real speech, convert each, check each on the device side.

    Ends with a table, results.json and report.html. Exit status 1 where a limit was missed.
    """
    from kgated.compare.demo import demo as run_demo

    if not run_demo(out, seed=seed).passed:
        raise typer.Exit(1)
