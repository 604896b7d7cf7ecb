"""`kgated convert`."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from kgated_cli import checks
from kgated_cli.app import app
from kgated_cli.light import import_light
from kgated_cli.models import check_model_file, load_model
from kgated_cli.progress import steps
from kgated_cli.user_code import check_layers_file

LAYERS_FILE = "A Python file with layers of your own, imported before the model."


@app.command()
def convert(
    model: Annotated[Path, typer.Argument(help="A saved Keras model (.keras, .h5).")],
    output: Annotated[Path, typer.Argument(help="The .tflite file to write.")],
    mode: Annotated[
        str | None,
        typer.Option(
            help="stream: one frame per call, state in and out. sequence: a whole one per call. "
            "Else stream."
        ),
    ] = None,
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
    calibration_method: Annotated[
        str,
        typer.Option(
            help="Of the ranges. minmax: the extremes. percentile: without the sequences that "
            "reach farthest. mse: the smallest rounding error. The last two bear outliers."
        ),
    ] = "minmax",
    percentile: Annotated[float, typer.Option(help="For --calibration-method percentile.")] = 99.99,
    evaluation: Annotated[
        Path | None,
        typer.Option(
            help="Sequences (.npz) to report on, other ones than for --calibration; with `y` the "
            "accuracy, or error, of the model and of the file."
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="The largest RMSE allowed, relative to the spread of the output, such as 0.1; "
            "a file above it is not written."
        ),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="Class names, separated by commas, or a file of one a line.")
    ] = None,
    vocabulary: Annotated[
        Path | None,
        typer.Option(
            help="The tokens of the input's ids: a text file of one a line, or .json. Not needed "
            "for a model that begins with TextVectorization or a lookup layer."
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Of a single output: from here on it is the second label; else 0.5."),
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
    layers_file: Annotated[Path | None, typer.Option("--import", help=LAYERS_FILE)] = None,
    report: Annotated[
        Path | None, typer.Option("--json", help="Write size and agreement with Keras here.")
    ] = None,
) -> None:
    """Convert a Keras model into one .tflite file of builtin ops, checked against the model."""
    options: dict[str, Any]
    options = {"quantize": quantize, "skip": skip or [], "state": state, "target": target}
    options |= {"lowering": lowering, "batch": batch}
    options |= {"calibration_method": calibration_method, "percentile": percentile}
    chosen = _chosen(recipe, {"mode": mode or "stream", **options})
    checks.check_lengths(chosen["mode"], length, max_length)
    checks.check_number("--sample-period-ms", sample_period_ms, 0.0)
    checks.check_number("--tolerance", tolerance, 0.0)
    facts: dict[str, Any] = {
        "length": length,
        "max_length": max_length,
        "labels": checks.labels_of(labels),
        "figures": checks.figures_of(figure or []),
        "calibration": calibration,
        "evaluation": evaluation,
        "tolerance": tolerance,
        "vocabulary": checks.vocabulary_of(vocabulary),
        "threshold": checks.threshold_of(threshold),
        "sample_period_s": None if sample_period_ms is None else sample_period_ms / 1000.0,
    }
    check_model_file(model)
    if layers_file is not None:
        check_layers_file(layers_file)
    inputs = [model, calibration, evaluation, recipe, layers_file, vocabulary]
    checks.check_outputs([output, report], inputs)
    checks.check_calibration(model, chosen["quantize"], calibration, vocabulary is not None)
    if evaluation is not None:
        checks.check_evaluation(evaluation)
    with steps() as begin:
        begin("starting TensorFlow")
        _start_worker()
        from kgated.deploy import to_tflite

        begin(f"loading {model}")
        loaded = load_model(model, layers_file)
        begin(f"converting: {chosen['mode']}, quantize {chosen['quantize']}, checked against Keras")
        conversion = to_tflite(loaded, output, **chosen, **facts)
    if report is not None:
        _write_report(report, conversion)
    _show(output, conversion, chosen)
    if mode is None and recipe is None and (frames := _fixed_length(loaded)):
        typer.echo(
            f"note: the model's Input has a fixed length of {frames} frames, and the file takes a "
            "stream, one frame a call, since --mode was not given; a model that was trained on "
            "windows, to answer once for each, wants --mode sequence"
        )


def _start_worker() -> None:
    if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
        from kgated_worker import WORKER

        WORKER.start()  # imports TensorFlow there while this process does


def _fixed_length(model: Any) -> int | None:
    """The frames of the model's input where its shape says them."""
    shape = model.inputs[0].shape
    return shape[1] if len(shape) > 1 else None


def _write_report(path: Path, conversion: Any) -> None:
    from kgated.atomic_write import replace_file

    facts: dict[str, Any] = {
        "recipe": dict(conversion.manifest.recipe),
        "file_bytes": conversion.file_bytes,
        "agreement": asdict(conversion.agreement),
        "outputs": {name: asdict(outputs) for name, outputs in conversion.outputs.items()},
        "evaluation": None if conversion.evaluation is None else asdict(conversion.evaluation),
    }
    replace_file(path, json.dumps(facts, indent=2).encode())


def _show(output: Path, conversion: Any, chosen: dict[str, Any]) -> None:
    agreement = conversion.agreement
    typer.echo(
        f"{output}: {conversion.file_bytes / 1024:.1f} KiB, mode {chosen['mode']}, quantize "
        f"{chosen['quantize']}; against "
        f"Keras over {agreement.results} results: max abs error {agreement.max_abs_error:.2g}, "
        f"RMSE {agreement.rmse:.2g}{_of_spread(agreement)}, top-1 agreement "
        f"{100 * agreement.top1_agreement:.1f}%"
    )
    if conversion.evaluation is not None:
        typer.echo(_evaluation_text(conversion.evaluation))
    if chosen["target"] == "mcu":
        from kgated.deploy.tflm import arena_bytes, source_paths

        names = ", ".join(map(str, source_paths(output)))
        arena = arena_bytes(output.read_bytes())
        typer.echo(f"for the firmware: {names}; an arena of {arena / 1024:.1f} KiB at most")


def _of_spread(agreement: Any) -> str:
    relative = agreement.relative_rmse
    return "" if relative is None else f" ({100 * relative:.2g}% of the output's spread)"


def _evaluation_text(evaluation: Any) -> str:
    """A line on the metrics of both models."""
    metrics = ("accuracy", "r2", "mae", "rmse", "bits_per_character")
    texts = []
    for name in metrics:
        ends = (getattr(evaluation.keras, name), getattr(evaluation.file, name))
        if None not in ends:
            percent = name == "accuracy"
            keras, file = (f"{100 * x:.1f}%" if percent else f"{x:.4g}" for x in ends)
            texts.append(f"{name} {keras} of the Keras model, {file} of the file")
    return f"over {evaluation.sequences} labelled sequences: {'; '.join(texts)}"


def _chosen(recipe: Path | None, options: dict[str, Any]) -> dict[str, Any]:
    """The options of a conversion that make its recipe, from a file where there is one."""
    recipes = import_light("kgated.deploy.recipe")
    if recipe is None:
        checks.check_recipe(options)
        return options
    unset = recipes.Recipe().as_dict()
    if given := [
        f"--{name.replace('_', '-')}" for name, value in options.items() if value != unset[name]
    ]:
        raise ValueError(f"--recipe brings {', '.join(given)} with it: leave one of the two out")
    return dict(recipes.load_recipe(recipe).as_dict())
