"""The `kgated` command.

A module beside the package, not in it: importing `kgated` imports Keras and its backend, which
takes seconds and logs to stderr, and `kgated --help` needs neither.
"""

import contextlib
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

BAD_INPUT = (ValueError, TypeError, OSError, ImportError)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command, with the process's arguments or those given.

    Exit status: 0, 1 (a check failed), 2 (bad input, one line on stderr), 3 (a defect of ours).
    """
    with native_logs_to_file() as log:
        try:
            status = app(arguments, standalone_mode=False) or 0
        except typer.TyperException as error:
            _fail(f"{error.format_message()} See `kgated --help`.")
        except (typer.Abort, KeyboardInterrupt):
            raise SystemExit(130) from None
        except BAD_INPUT as error:
            _fail(str(error))
        except Exception as error:
            if type(error).__name__ == "ConversionError":
                _fail(str(error))
            traceback.print_exc()
            sys.stderr.write(f"The native libraries had logged:\n{Path(log).read_text()}")
            raise SystemExit(3) from None
        raise SystemExit(status)


@contextlib.contextmanager
def native_logs_to_file() -> Iterator[str]:
    """Send what C++ libraries write to stderr to a file; Python's own stderr stays as it is."""
    with tempfile.NamedTemporaryFile() as log:
        python, real = sys.stderr, os.dup(2)
        os.dup2(log.fileno(), 2)
        sys.stderr = os.fdopen(os.dup(real), "w", buffering=1)
        try:
            yield log.name
        finally:
            sys.stderr.close()
            sys.stderr = python
            os.dup2(real, 2)
            os.close(real)


def _fail(message: str) -> NoReturn:
    sys.stderr.write(f"kgated: error: {' '.join(message.split())}\n")
    raise SystemExit(2)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kgated {version('kgated')}")
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Gated recurrent networks for Keras, made to run on a device in real time."""


@app.command()
def convert(
    model: Annotated[Path, typer.Argument(help="A saved Keras model (.keras).")],
    output: Annotated[Path, typer.Argument(help="The .tflite file to write.")],
    mode: Annotated[
        str,
        typer.Option(
            help="stream: one frame per call, state in and out. sequence: a whole one per call."
        ),
    ] = "stream",
    quantize: Annotated[
        str,
        typer.Option(
            help="none: float32. float16: weights in half the size. dynamic: int8 weights, float "
            "state. dynamic4: 4-bit weights. int8: integers throughout, in, out and state too. "
            "int16x8: the same with int16 activations."
        ),
    ] = "none",
    skip: Annotated[
        list[str] | None, typer.Option(help="A layer to keep in float; may be given again.")
    ] = None,
    state: Annotated[
        str, typer.Option(help="external: inputs and outputs. internal: inside the file.")
    ] = "external",
    target: Annotated[
        str,
        typer.Option(help="cpu: any device that runs it. mcu: TensorFlow Lite Micro, in C++."),
    ] = "cpu",
    lowering: Annotated[
        str,
        typer.Option(
            help="Of a sequence's steps. unrolled: each in the graph. while: a loop. auto: the "
            "faster one. fused: one builtin operator for each LSTM."
        ),
    ] = "auto",
    length: Annotated[
        int | None, typer.Option(help="Frames of a sequence; else as the model's Input says.")
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(help="In place of --length: sequences of up to so many frames.")
    ] = None,
    batch: Annotated[
        int, typer.Option(help="Sequences, or streams, that a call takes side by side.")
    ] = 1,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Sequences (.npz) to check the file on, else noise. int8 and int16x8 take their "
            "ranges from them and do not go without."
        ),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="Class names, separated by commas, or a file of one a line.")
    ] = None,
    sample_period_ms: Annotated[
        float | None, typer.Option(help="Milliseconds from one frame to the next.")
    ] = None,
    figure: Annotated[
        list[str] | None,
        typer.Option(help="accuracy=0.98: how good the float model is; may be given again."),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            help="What `kgated optimize` wrote: mode, quantization, skipped layers, state, target, "
            "lowering and batch, in place of those options."
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--json", help="Write size and agreement with Keras here.")
    ] = None,
) -> None:
    """Convert a Keras model into one .tflite file of builtin ops, checked against the model."""
    from kgated.files import check_writable, replace_file

    for path in (output, report):
        if path is not None and check_writable(path).resolve() == model.resolve():
            raise ValueError(f"can't write {path}: it is the model itself; name another file")

    from dataclasses import asdict

    if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
        from kgated_worker import WORKER

        WORKER.start()  # imports TensorFlow there while this process does

    from kgated.deploy import to_tflite

    chosen: dict[str, Any]
    chosen = {"mode": mode, "quantize": quantize, "state": state, "skip": skip or []}
    chosen = _chosen(recipe, {**chosen, "target": target, "lowering": lowering, "batch": batch})
    conversion = to_tflite(
        load_model(model),
        output,
        **chosen,
        length=length,
        max_length=max_length,
        calibration=calibration,
        labels=None if labels is None else _names(labels),
        sample_period_s=None if sample_period_ms is None else sample_period_ms / 1000.0,
        figures=_figures(figure or []),
    )
    found = conversion.agreement
    facts: dict[str, Any] = {
        "recipe": dict(conversion.manifest.recipe),
        "file_bytes": conversion.file_bytes,
        "agreement": asdict(found),
        "outputs": {name: asdict(one) for name, one in conversion.outputs.items()},
    }
    if report is not None:
        replace_file(report, json.dumps(facts, indent=2).encode())
    typer.echo(
        f"{output}: {conversion.file_bytes / 1024:.1f} KiB, {chosen['mode']}, quantize "
        f"{chosen['quantize']}; against "
        f"Keras over {found.results} results: max abs error {found.max_abs_error:.2g}, "
        f"RMSE {found.rmse:.2g}, top-1 agreement {100 * found.top1_agreement:.1f}%"
    )
    if chosen["target"] == "mcu":
        from kgated.deploy.mcu import arena_bytes, source_paths

        names = ", ".join(map(str, source_paths(output)))
        arena = arena_bytes(output.read_bytes())
        typer.echo(f"for the firmware: {names}; an arena of {arena / 1024:.1f} KiB at most")


@app.command()
def optimize(
    model: Annotated[Path, typer.Argument(help="A saved Keras model (.keras).")],
    data: Annotated[Path, typer.Option(help="Sequences with class labels (.npz) to judge by.")],
    calibration: Annotated[
        Path | None, typer.Option(help="Sequences to take ranges from; else those of --data.")
    ] = None,
    quantize: Annotated[
        str, typer.Option(help="int8, int16x8, dynamic, dynamic4 or float16, as in `convert`.")
    ] = "int8",
    limit: Annotated[
        float, typer.Option(help="Points of accuracy that may be lost, in percent of the data.")
    ] = 0.5,
    qat: Annotated[
        Path | None, typer.Option(help="The model after `kgated.quantize_aware`, to compare with.")
    ] = None,
    mode: Annotated[str, typer.Option(help="stream or sequence, as in `convert`.")] = "stream",
    length: Annotated[int | None, typer.Option(help="As in `convert`.")] = None,
    max_length: Annotated[int | None, typer.Option(help="As in `convert`.")] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Recipe for `convert --recipe`.")
    ] = Path("recipe.json"),
) -> None:
    """Find the layers that must stay in float, and write the recipe; compare on the device side."""
    from kgated.files import check_writable

    if check_writable(output).resolve() in [p.resolve() for p in (model, data, qat) if p]:
        raise ValueError(f"can't write {output}: it is one of the inputs; name another file")

    from rich.console import Console

    from kgated import mixed

    mixed.check_wanted(quantize, limit)
    console = Console(highlight=False)
    trained = None if qat is None else load_model(qat)
    sizes = {"mode": mode, "length": length, "max_length": max_length}
    with console.status("converting, and judging on the device side"):
        judge = mixed.Judge(load_model(model), data, calibration, **sizes)
        found = mixed.find(judge, quantize, limit)
        lines = mixed.cross_check(judge, found, trained)
    console.print(mixed.sensitivity_table(found.sensitivities, quantize))
    console.print(mixed.table(lines, limit))
    if found.whole.refused is not None:
        console.print(f"{quantize}, all layers: {found.whole.refused}", style="red", soft_wrap=True)
    found.save(output)
    skipped = ", ".join(found.recipe.skip) or "none"
    typer.echo(f"{output}: quantize {found.recipe.quantize}, layers left in float: {skipped}")


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="A .tflite file, ours or another tool's.")],
    report: Annotated[
        Path | None, typer.Option("--json", help="Write the same as JSON here.")
    ] = None,
) -> None:
    """Print what is in a .tflite file: signature, states, operators, sizes, recipe, manifest."""
    os.environ["KERAS_BACKEND"] = "numpy"  # nothing is computed: the backend that loads fastest

    from rich.console import Console

    from kgated.deploy.describe import as_plain, describe
    from kgated.deploy.describe_text import show
    from kgated.files import replace_file

    found = describe(file)
    if report is not None:
        replace_file(report, json.dumps(as_plain(found), indent=2).encode())
    show(found, Console(highlight=False))


@app.command()
def report(
    results: Annotated[
        list[Path],
        typer.Argument(help="What `kgated-edge check --json` or `realtime --json` wrote."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .html file to write.")] = Path(
        "report.html"
    ),
    title: Annotated[str, typer.Option(help="The page's heading.")] = "On the device",
) -> None:
    """Make one page from the results of one or many devices and models."""
    os.environ["KERAS_BACKEND"] = "numpy"  # nothing is computed: the backend that loads fastest

    from kgated.files import check_writable, replace_file
    from kgated.report.page import render
    from kgated.report.read import read_runs

    check_writable(output)
    if output.resolve() in [path.resolve() for path in results]:
        raise ValueError(f"{output}: this is one of the results: name another file for the page")
    runs = read_runs(results)
    replace_file(output, render(runs, title).encode())
    typer.echo(f"{output}: {len(runs)} results")


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
    from kgated.files import check_writable

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


def _figures(texts: list[str]) -> dict[str, float]:
    try:
        return {name: float(value) for name, value in (text.split("=") for text in texts)}
    except ValueError:
        raise ValueError(
            f"`figure` must be NAME=NUMBER, such as accuracy=0.98. Received: {texts}"
        ) from None


def _chosen(recipe: Path | None, options: dict[str, Any]) -> dict[str, Any]:
    """The options of a conversion that make its recipe, from a file where there is one."""
    if recipe is None:
        return options
    from kgated.deploy import Recipe
    from kgated.deploy.stored import load_recipe

    unset = Recipe().as_dict()
    if given := [f"--{name}" for name, value in options.items() if value != unset[name]]:
        raise ValueError(f"--recipe brings {', '.join(given)} with it: leave one of the two out")
    return load_recipe(recipe).as_dict()


def _names(text: str) -> list[str]:
    if Path(text).is_file():
        return Path(text).read_text(encoding="utf-8").splitlines()
    return text.split(",")


def load_model(path: Path) -> Any:
    """Load a `.keras` file with our layers known.

    Raises:
        ValueError: the file is missing, no Keras model, or holds layers that nobody registered.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give a model saved by `model.save('….keras')`")
    import keras

    import kgated.models  # noqa: F401 - registers the layers and the language model

    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:
        reason = str(error).strip().splitlines() or [repr(error)]
        raise ValueError(f"{path}: can't be loaded as a Keras model: {reason[-1][:300]}") from error


if __name__ == "__main__":
    main()
