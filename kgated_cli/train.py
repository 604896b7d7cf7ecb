"""`kgated train` and `kgated demo`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from kgated_cli import checks
from kgated_cli.app import app
from kgated_cli.light import import_light

CELLS = ("LSTM", "PeepholeLSTM", "GRU", "MinGRU", "MinLSTM")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@app.command()
def train(
    data: Annotated[Path, typer.Argument(help="Sequences with labels (.npz).")],
    output: Annotated[Path, typer.Argument(help="The .keras file to write.")],
    validation: Annotated[
        Path | None, typer.Option(help="Sequences to choose the weights by. Else a fifth of DATA.")
    ] = None,
    cell: Annotated[str, typer.Option(help="LSTM, PeepholeLSTM, GRU, MinGRU or MinLSTM.")] = "LSTM",
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
    checks.check_choice("cell", cell, CELLS)
    checks.check_choice("precision", precision, PRECISIONS)
    checks.check_number("--learning-rate", learning_rate, 0.0)
    checks.check_number("--clip-norm", clip_norm, 0.0)
    options = {"cell": cell, "units": units, "layers": layers, "dropout": dropout, "seed": seed}
    options |= {"epochs": epochs, "patience": patience, "batch_size": batch_size}
    options |= {"learning_rate": learning_rate, "clip_norm": clip_norm, "precision": precision}
    _check_files(data, output, validation, folder, tensorboard, options)
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"--dropout must be 0 or above, and below 1. Received: {dropout:g}")

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
    try:
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
    except KeyboardInterrupt as stop:  # typer would end without its message
        typer.echo(f"kgated: {stop}", err=True)
        raise typer.Exit(130) from None
    _show(history, output)


def _show(history: dict[str, list[float]], output: Path) -> None:
    losses = history["val_loss"]
    best = min(range(len(losses)), key=losses.__getitem__)
    typer.echo(
        f"{output}: epoch {best + 1} of {len(losses)}, validation loss "
        f"{losses[best]:.4f}, accuracy {100 * history['val_accuracy'][best]:.2f}%"
    )


def _check_files(
    data: Path,
    output: Path,
    validation: Path | None,
    folder: Path | None,
    tensorboard: bool,
    options: dict[str, Any],
) -> None:
    """Refuse what can't be read, learned or written, before anything is imported."""
    if output.suffix != ".keras":
        raise ValueError(f"`output` must end in .keras, Keras's format. Received: {output}")
    if tensorboard and folder is None:
        raise ValueError("`tensorboard` needs a `folder` for its logs: name one by --folder")
    checks.check_outputs([output], [data, validation])
    checks.check_folder(folder)
    train = checks.check_labels(data)
    record = import_light("kgated.run_record")
    record.check_folder(folder, {**options, "data": record.digest(train)})
    if validation is None:
        return
    held_out = checks.check_data(validation)
    if held_out.x.shape[2:] != train.x.shape[2:]:
        raise ValueError(
            f"{validation}: the frames must have the shape {train.x.shape[2:]} of those in {data}. "
            f"Received: {held_out.x.shape[2:]}"
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
    checks.check_folder(out)

    from kgated.compare.demo import demo as run_demo

    if not run_demo(out, seed=seed).passed:
        raise typer.Exit(1)
