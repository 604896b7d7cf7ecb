"""`kgated optimize`."""

from pathlib import Path
from typing import Annotated

import typer

from kgated_cli.app import app
from kgated_cli.models import load_model


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
    from kgated.atomic_write import check_writable

    if check_writable(output).resolve() in [p.resolve() for p in (model, data, qat) if p]:
        raise ValueError(f"can't write {output}: it is one of the inputs; name another file")

    from rich.console import Console

    from kgated import mixed_precision

    mixed_precision.check_wanted(quantize, limit)
    console = Console(highlight=False)
    trained = None if qat is None else load_model(qat)
    sizes = {"mode": mode, "length": length, "max_length": max_length}
    with console.status("converting, and judging on the device side"):
        judge = mixed_precision.Judge(load_model(model), data, calibration, **sizes)
        found = mixed_precision.find(judge, quantize, limit)
        lines = mixed_precision.cross_check(judge, found, trained)
    console.print(mixed_precision.sensitivity_table(found.sensitivities, quantize))
    console.print(mixed_precision.table(lines, limit))
    if found.whole.refused is not None:
        console.print(f"{quantize}, all layers: {found.whole.refused}", style="red", soft_wrap=True)
    found.save(output)
    skipped = ", ".join(found.recipe.skip) or "none"
    typer.echo(f"{output}: quantize {found.recipe.quantize}, layers left in float: {skipped}")
