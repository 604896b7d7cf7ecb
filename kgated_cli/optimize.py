"""`kgated optimize`."""

from pathlib import Path
from typing import Any

import typer

from kgated_cli import checks, options
from kgated_cli.app import app
from kgated_cli.models import check_model_file, load_model
from kgated_cli.progress import steps
from kgated_cli.user_code import check_layers_file


@app.command()
def optimize(
    model: options.ModelFile,
    data: options.EvaluationData,
    calibration: options.RangesData = None,
    quantize: options.IntegerQuantize = "int8",
    limit: options.AccuracyLimit = 0.5,
    qat: options.QatModel = None,
    mode: options.SearchMode = "stream",
    length: options.AsInConvert = None,
    max_length: options.AsInConvert = None,
    layers_file: options.LayersFile = None,
    output: options.RecipeOutput = Path("recipe.json"),
) -> None:
    """Find the layers that must stay in float, and write the recipe; compare on the device side."""
    _check_options(quantize, limit, mode, length, max_length)
    _check_files(model, qat, layers_file)
    checks.check_outputs([output], [model, data, calibration, qat, layers_file])
    checks.check_data_to_judge(data)
    if calibration is not None:
        checks.check_data(calibration)

    sizes = {"mode": mode, "length": length, "max_length": max_length}
    with steps() as begin:
        begin("starting TensorFlow")
        from kgated import mixed_precision

        begin("loading the models")
        qat_model = None if qat is None else load_model(qat, layers_file)
        loaded = load_model(model, layers_file)
        begin("converting, and judging on the device side")
        judge = mixed_precision.Judge(loaded, data, calibration, **sizes)
        search = mixed_precision.find(judge, quantize, limit)
        lines = mixed_precision.cross_check(judge, search, qat_model)
    _show(search, lines, quantize, limit)
    search.save(output)
    skipped = ", ".join(search.recipe.skip) or "none"
    typer.echo(
        f"{output}: mode {mode}, quantize {search.recipe.quantize}, layers left in float: {skipped}"
    )


def _check_files(model: Path, qat: Path | None, layers_file: Path | None) -> None:
    for path in filter(None, (model, qat)):
        check_model_file(path)
    if layers_file is not None:
        check_layers_file(layers_file)


def _show(search: Any, lines: list[Any], quantize: str, limit: float) -> None:
    """Print the tables, and why quantizing every layer was refused where it was."""
    from rich.console import Console

    from kgated import mixed_precision

    console = Console(highlight=False)
    console.print(mixed_precision.sensitivity_table(search.sensitivities, quantize))
    console.print(mixed_precision.table(lines, limit))
    if search.whole.refused is not None:
        refusal = f"{quantize}, all layers: {search.whole.refused}"
        console.print(refusal, style="red", soft_wrap=True)


def _check_options(
    quantize: str, limit: float, mode: str, length: int | None, max_length: int | None
) -> None:
    """Refuse what can't be asked for; `ValueError`."""
    if quantize == "none":
        raise ValueError("`quantize` must not be 'none': there is nothing to lose in float")
    checks.check_recipe({"mode": mode, "quantize": quantize, "skip": []})
    checks.check_lengths(mode, length, max_length)
    if not limit >= 0.0:
        raise ValueError(f"`limit` must be 0 or more points of accuracy. Received: {limit!r}")
