"""`kgated train` and `kgated demo`."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from kgated_cli import checks, options
from kgated_cli.app import app
from kgated_cli.light import import_light

TASKS = ("speaker", "motion", "keyword")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@app.command()
def train(
    data: options.TrainingData,
    output: options.KerasFile,
    validation: options.ValidationData = None,
    cell: options.Cell = "LSTM",
    units: options.Units = 64,
    layers: options.Layers = 1,
    dropout: options.Dropout = 0.3,
    epochs: options.Epochs = 100,
    patience: options.Patience = 25,
    batch_size: options.BatchSize = None,
    learning_rate: options.LearningRate = 3e-3,
    clip_norm: options.ClipNorm = 1.0,
    precision: options.Precision = "float32",
    seed: options.Seed = 0,
    folder: options.RunFolder = None,
    tensorboard: options.TensorBoard = False,
    augment: options.Augmentation = None,
    streaming: options.StreamingTraining = False,
    steps: options.ChunkSteps = 100,
    stride: options.Stride = 1,
    quiet: options.Quiet = False,
) -> None:
    """Train a classifier of sequences on an .npz data set; write the best model."""
    cell = {name.lower(): name for name in options.CELLS}.get(cell.lower(), cell)
    model: dict[str, Any] = {"cell": cell, "units": units, "layers": layers, "dropout": dropout}
    plan: dict[str, Any] = {"epochs": epochs, "patience": patience, "seed": seed}
    plan |= {"learning_rate": learning_rate, "clip_norm": clip_norm, "precision": precision}
    plan |= {} if batch_size is None else {"batch_size": batch_size}
    if augment is not None:
        plan["augmentation"] = vars(import_light("kgated.data").SensorAugmentation.parse(augment))
    _check_options(cell, precision, learning_rate, clip_norm, dropout)
    _check_streaming(streaming, folder is not None or tensorboard, stride)
    if streaming:
        _check_recordings(data, output, validation)
        model |= {"validation": validation, "steps": steps, "stride": stride, "quiet": quiet}
        _train(data, output, plan, model, streaming=True)
        return
    _check_files(data, output, validation, folder, tensorboard, {**model, **plan})
    progress = {"folder": folder, "tensorboard": tensorboard, "quiet": quiet}
    _train(data, output, plan, {"validation": validation, **model, **progress})


def _check_options(
    cell: str, precision: str, learning_rate: float, clip_norm: float, dropout: float
) -> None:
    checks.check_choice("cell", cell, options.CELLS)
    checks.check_choice("precision", precision, PRECISIONS)
    checks.check_number("--learning-rate", learning_rate, 0.0)
    checks.check_number("--clip-norm", clip_norm, 0.0)
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"--dropout must be 0 or above, and below 1. Received: {dropout:g}")


def _check_streaming(streaming: bool, is_logged: bool, stride: int) -> None:
    if streaming and is_logged:
        raise ValueError("--folder and --tensorboard do not work with --streaming: leave them")
    if stride != 1 and not streaming:
        raise ValueError("--stride works with --streaming alone: add it, or leave --stride out")


def _train(
    data: Path,
    output: Path,
    plan: dict[str, Any],
    arguments: dict[str, Any],
    streaming: bool = False,
) -> None:
    """Train, write the model, and print the best epoch."""
    from kgated.data import SensorAugmentation
    from kgated.models import train_classifier, train_streaming
    from kgated.training import Plan

    if "augmentation" in plan:
        plan = {**plan, "augmentation": SensorAugmentation(**plan["augmentation"])}
    train_model = train_streaming if streaming else train_classifier
    try:
        with _warnings_as_lines():
            history = train_model(data, output, plan=Plan(**plan), **arguments).history
    except KeyboardInterrupt as stop:  # typer would end without its message
        typer.echo(f"kgated: {stop}", err=True)
        raise typer.Exit(130) from None
    _show(history, output)


@contextlib.contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Show the warning of a model of chance as one line, without a place in the code."""
    from kgated.models.chance import ChanceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("always", ChanceWarning)
        show = warnings.showwarning

        def show_line(
            message: Warning | str, category: type[Warning], *place: Any, **options: Any
        ) -> None:
            if issubclass(category, ChanceWarning):
                typer.echo(f"kgated: warning: {message}", err=True)
            else:
                show(message, category, *place, **options)

        warnings.showwarning = show_line
        yield


def _show(history: dict[str, list[float]], output: Path) -> None:
    from kgated.models.classifier import best_accuracy, best_epoch

    losses, best = history["val_loss"], best_epoch(history)
    typer.echo(
        f"{output}: epoch {best + 1} of {len(losses)}, validation loss "
        f"{losses[best]:.4f}, accuracy {100 * best_accuracy(history):.2f}%"
    )


def _check_recordings(data: Path, output: Path, validation: Path | None) -> None:
    """Refuse recordings without labels per frame, before anything is imported."""
    from kgated_edge.evaluation.dataset import load_npz

    if output.suffix != ".keras":
        raise ValueError(f"`output` must end in .keras, Keras's format. Received: {output}")
    checks.check_outputs([output], [data, validation])
    import_light("kgated.data").frame_class_count(load_npz(data), data)


def _check_files(
    data: Path,
    output: Path,
    validation: Path | None,
    folder: Path | None,
    tensorboard: bool,
    training: dict[str, Any],
) -> None:
    """Refuse what can't be read, learned or written, before anything is imported."""
    if output.suffix != ".keras":
        raise ValueError(f"`output` must end in .keras, Keras's format. Received: {output}")
    if tensorboard and folder is None:
        raise ValueError("`tensorboard` needs a `folder` for its logs: name one by --folder")
    checks.check_outputs([output], [data, validation])
    checks.check_folder(folder)
    train = checks.check_labels(data)
    record = import_light("kgated.training.run_record")
    record.check_folder(folder, {**training, "data": record.digest(train)})
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
    task: Annotated[
        str,
        typer.Option(
            help="speaker: all cells on real speech. motion: events in a stream of a watch's "
            "sensors. keyword: two wake phrases in synthetic speech with noise; needs espeak-ng."
        ),
    ] = "speaker",
) -> None:
    """Train models on a task, convert and check them on the device side, and write a page.

    `speaker` compares LSTM, PeepholeLSTM and GRU; exit status 1 where a limit was missed. `motion`
    and `keyword` go from files to events, and measure misses, false accepts per hour and delay
    before and after `tune`, on recordings that were never trained or tuned on.
    """
    checks.check_choice("task", task, TASKS)
    checks.check_folder(out)
    if task == "speaker":
        from kgated.demos.cells.run import demo as run_demo

        if not run_demo(out, seed=seed).passed:
            raise typer.Exit(1)
        return
    from kgated.demos import keyword_demo, motion_demo

    (motion_demo if task == "motion" else keyword_demo)(out, seed=seed)
