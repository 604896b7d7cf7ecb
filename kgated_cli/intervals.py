"""`kgated intervals`: prediction intervals of a forecaster, kept in the file."""

from pathlib import Path
from typing import Annotated

import typer

from kgated_cli import checks, signature_options
from kgated_cli.app import app
from kgated_cli.light import import_light


@app.command()
def intervals(
    model: Annotated[Path, typer.Argument(help="A .tflite file of `kgated convert`.")],
    data: Annotated[
        Path, typer.Argument(help="Sequences (.npz) with numeric targets, not trained on.")
    ],
    coverage: Annotated[
        float, typer.Option(help="Probability that an interval holds the target.")
    ] = 0.9,
    dry_run: Annotated[bool, typer.Option(help="Leave the file as it is.")] = False,
    require_key: signature_options.RequireKey = None,
    version_file: signature_options.VersionFile = None,
) -> None:
    """Measure conformal prediction intervals on calibration data, and write them into the file."""
    checks.check_number("--coverage", coverage, 0.0, 1.0)
    file = signature_options.open_signed(model, require_key, version_file)
    tuning = import_light("kgated.tuning")
    measured = tuning.conformal_intervals(file, data, coverage)
    widths = ", ".join(f"{width:.4g}" for width in measured.half_widths)
    typer.echo(f"{100 * coverage:g}% intervals: result ± {widths}")
    if not dry_run:
        tuning.write_section(file, "intervals", measured.to_plain())
        typer.echo(f"{model}: the intervals are in its manifest")
