"""`kgated optimize`."""

from pathlib import Path
from typing import Annotated

import typer

from kgated_cli import checks
from kgated_cli.app import app
from kgated_cli.convert import LAYERS_FILE
from kgated_cli.models import check_model_file, load_model
from kgated_cli.progress import steps
from kgated_cli.user_code import check_layers_file


@app.command()
def optimize(
    model: Annotated[Path, typer.Argument(help="A saved Keras model (.keras, .h5).")],
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
    layers_file: Annotated[Path | None, typer.Option("--import", help=LAYERS_FILE)] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Recipe for `convert --recipe`.")
    ] = Path("recipe.json"),
) -> None:
    """Find the layers that must stay in float, and write the recipe; compare on the device side."""
    _check_options(quantize, limit, mode, length, max_length)
    for path in filter(None, (model, qat)):
        check_model_file(path)
    if layers_file is not None:
        check_layers_file(layers_file)
    checks.check_outputs([output], [model, data, calibration, qat, layers_file])
    checks.check_data_to_judge(data)
    if calibration is not None:
        checks.check_data(calibration)

    from rich.console import Console

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
    console = Console(highlight=False)
    console.print(mixed_precision.sensitivity_table(search.sensitivities, quantize))
    console.print(mixed_precision.table(lines, limit))
    if search.whole.refused is not None:
        refusal = f"{quantize}, all layers: {search.whole.refused}"
        console.print(refusal, style="red", soft_wrap=True)
    search.save(output)
    skipped = ", ".join(search.recipe.skip) or "none"
    typer.echo(
        f"{output}: mode {mode}, quantize {search.recipe.quantize}, layers left in float: {skipped}"
    )


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
