"""`kgated convert`."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from kgated_cli import checks, options
from kgated_cli.app import app
from kgated_cli.light import import_light
from kgated_cli.models import check_model_file, load_model
from kgated_cli.progress import steps
from kgated_cli.user_code import check_layers_file


@app.command()
def convert(
    model: options.ModelFile,
    output: options.TFLiteFile,
    mode: options.Mode = None,
    quantize: options.Quantize = "none",
    skip: options.Skip = None,
    state: options.State = "external",
    target: options.Target = "cpu",
    lowering: options.Lowering = "auto",
    length: options.Length = None,
    max_length: options.MaxLength = None,
    batch: options.Batch = 1,
    sessions: options.Sessions = 1,
    block: options.Block = 1,
    results: options.Results = "auto",
    calibration: options.Calibration = None,
    calibration_method: options.CalibrationMethod = "minmax",
    percentile: options.Percentile = 99.99,
    evaluation: options.EvaluationSequences = None,
    tolerance: options.Tolerance = None,
    labels: options.Labels = None,
    vocabulary: options.VocabularyFile = None,
    threshold: options.Threshold = None,
    sample_period_ms: options.SamplePeriod = None,
    figure: options.Metrics = None,
    recipe: options.RecipeFile = None,
    layers_file: options.LayersFile = None,
    report: options.ConversionReport = None,
) -> None:
    """Convert a Keras model into one .tflite file of builtin ops, checked against the model."""
    fields: dict[str, Any] = {"mode": mode or "stream", "quantize": quantize, "skip": skip or []}
    fields |= {"state": state, "target": target, "lowering": lowering, "batch": batch}
    fields |= {"sessions": sessions, "block": block, "results": results}
    fields |= {"calibration_method": calibration_method, "percentile": percentile}
    chosen = _chosen(recipe, fields)
    facts = _limits(chosen["mode"], length, max_length, tolerance)
    facts |= _metadata(labels, figure, sample_period_ms, vocabulary, threshold)
    inputs = [model, layers_file, calibration, evaluation, recipe, vocabulary]
    _check_files(model, layers_file, [output, report], inputs)
    facts |= _data(model, chosen["quantize"], calibration, evaluation, vocabulary)
    _convert_and_report((model, output, report), layers_file, chosen, facts, bool(mode or recipe))


def _limits(
    mode: str, length: int | None, max_length: int | None, tolerance: float | None
) -> dict[str, Any]:
    """The lengths and the tolerance of a conversion, checked."""
    checks.check_lengths(mode, length, max_length)
    checks.check_number("--tolerance", tolerance, 0.0)
    return {"length": length, "max_length": max_length, "tolerance": tolerance}


def _metadata(
    labels: str | None,
    metrics: list[str] | None,
    sample_period_ms: float | None,
    vocabulary: Path | None,
    threshold: float | None,
) -> dict[str, Any]:
    """The options of a conversion that go into the manifest, checked."""
    return {
        "labels": checks.labels_of(labels),
        "figures": checks.figures_of(metrics or []),
        "sample_period_s": checks.seconds_of("--sample-period-ms", sample_period_ms),
        "vocabulary": checks.vocabulary_of(vocabulary),
        "threshold": checks.threshold_of(threshold),
    }


def _check_files(
    model: Path,
    layers_file: Path | None,
    outputs: list[Path | None],
    inputs: list[Path | None],
) -> None:
    check_model_file(model)
    if layers_file is not None:
        check_layers_file(layers_file)
    checks.check_outputs(outputs, inputs)


def _data(
    model: Path,
    quantize: str,
    calibration: Path | None,
    evaluation: Path | None,
    vocabulary: Path | None,
) -> dict[str, Any]:
    """The data sets of a conversion, checked."""
    checks.check_calibration(model, quantize, calibration, vocabulary is not None)
    if evaluation is not None:
        checks.check_evaluation(evaluation)
    return {"calibration": calibration, "evaluation": evaluation}


def _convert_and_report(
    paths: tuple[Path, Path, Path | None],
    layers_file: Path | None,
    chosen: dict[str, Any],
    facts: dict[str, Any],
    has_mode: bool,
) -> None:
    """Convert and say how it went; `paths`: model, output, report."""
    model, output, report = paths
    loaded, conversion = _load_and_convert(model, layers_file, output, chosen, facts)
    _write_report(report, conversion)
    _show(conversion.path, conversion, chosen)
    if not has_mode:
        _note_fixed_length(loaded)


def _load_and_convert(
    path: Path,
    layers_file: Path | None,
    output: Path,
    chosen: dict[str, Any],
    facts: dict[str, Any],
) -> tuple[Any, Any]:
    """The model and its conversion."""
    with steps() as begin:
        begin("starting TensorFlow")
        _start_worker()
        from kgated.deploy import to_tflite

        begin(f"loading {path}")
        model = load_model(path, layers_file)
        begin(f"converting: {chosen['mode']}, quantize {chosen['quantize']}, checked against Keras")
        return model, to_tflite(model, output, **chosen, **facts, progress=begin)


def _start_worker() -> None:
    if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
        from kgated_worker import WORKER

        WORKER.start()  # imports TensorFlow there while this process does


def _note_fixed_length(model: Any) -> None:
    """Tell the user of `--mode sequence` where the model's input has a fixed number of frames."""
    shape = model.inputs[0].shape
    if frames := shape[1] if len(shape) > 1 else None:
        typer.echo(
            f"note: the model's Input has a fixed length of {frames} frames, and the file takes a "
            "stream, one frame a call, since --mode was not given; a model that was trained on "
            "windows, to answer once for each, wants --mode sequence"
        )


def _write_report(path: Path | None, conversion: Any) -> None:
    if path is None:
        return
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
    if chosen["target"] == "c":
        names = ", ".join(str(output.with_suffix(suffix)) for suffix in (".h", ".c"))
        typer.echo(f"C sources: {names}; their sizes in flash and RAM are in the header")


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


def _chosen(recipe: Path | None, fields: dict[str, Any]) -> dict[str, Any]:
    """The options of a conversion that make its recipe, from a file where there is one."""
    recipes = import_light("kgated.deploy.recipe")
    if recipe is None:
        checks.check_recipe(fields)
        return fields
    unset = recipes.Recipe().as_dict()
    if repeated := [
        f"--{name.replace('_', '-')}" for name, value in fields.items() if value != unset[name]
    ]:
        raise ValueError(f"--recipe brings {', '.join(repeated)} with it: leave one of the two out")
    return dict(recipes.load_recipe(recipe).as_dict())
