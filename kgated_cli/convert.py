"""`kgated convert`."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from kgated_cli.app import app
from kgated_cli.models import load_model


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
    from kgated.atomic_write import check_writable, replace_file

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
        from kgated.deploy.tflm import arena_bytes, source_paths

        names = ", ".join(map(str, source_paths(output)))
        arena = arena_bytes(output.read_bytes())
        typer.echo(f"for the firmware: {names}; an arena of {arena / 1024:.1f} KiB at most")


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
    from kgated.deploy.recipe import load_recipe

    unset = Recipe().as_dict()
    if given := [f"--{name}" for name, value in options.items() if value != unset[name]]:
        raise ValueError(f"--recipe brings {', '.join(given)} with it: leave one of the two out")
    return load_recipe(recipe).as_dict()


def _names(text: str) -> list[str]:
    if Path(text).is_file():
        return Path(text).read_text(encoding="utf-8").splitlines()
    return text.split(",")
