"""`kgated inspect` and `kgated report`: what was made and measured, shown."""

import json
from pathlib import Path
from typing import Annotated

import typer

from kgated_cli import checks
from kgated_cli.app import app
from kgated_cli.light import import_light


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="A .tflite file, ours or another tool's.")],
    report: Annotated[
        Path | None, typer.Option("--json", help="Write the same as JSON here.")
    ] = None,
) -> None:
    """Print what is in a .tflite file: signature, states, operators, sizes, recipe, manifest."""
    checks.check_outputs([report], [file])
    _check_tflite(file)

    from rich.console import Console

    from kgated.atomic_write import replace_file
    from kgated.deploy.inspect import as_plain, describe, show

    description = describe(file)
    if report is not None:
        replace_file(report, json.dumps(as_plain(description), indent=2).encode())
    show(description, Console(highlight=False))


def _check_tflite(path: Path) -> None:
    """Refuse what is no TFLite file by its first bytes, without TensorFlow; `ValueError`."""
    if not path.is_file():
        reason = "this is a folder" if path.is_dir() else "no such file"
        raise ValueError(f"{path}: {reason}; give a .tflite file")
    with path.open("rb") as file:
        if file.read(8)[4:] != b"TFL3":
            raise ValueError(
                f"{path}: this is not a TFLite file; give one made by `kgated convert`"
            )


@app.command()
def report(
    results: Annotated[
        list[Path],
        typer.Argument(
            help="What `kgated-edge check --json` or `realtime --json` wrote; or the reports of "
            "`live --monitor`."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .html file to write.")] = Path(
        "report.html"
    ),
    title: Annotated[str, typer.Option(help="The page's heading.")] = "On the device",
) -> None:
    """Make one page from the results of one or many devices and models."""
    if output.resolve() in [path.resolve() for path in results]:
        raise ValueError(f"{output}: this is one of the results: name another file for the page")
    checks.check_outputs([output], results)
    is_field_log = import_light("kgated.report.field").is_field_log
    logs = [path for path in results if is_field_log(path)]
    if logs:
        _report_field(logs, results, output, title)
        return
    import_light("kgated.report.read").read_runs(results)

    from kgated.atomic_write import replace_file
    from kgated.report.page import render
    from kgated.report.read import read_runs

    runs = read_runs(results)
    replace_file(output, render(runs, title).encode())
    typer.echo(f"{output}: {len(runs)} results")


def _report_field(logs: list[Path], results: list[Path], output: Path, title: str) -> None:
    """The page on files of `live --monitor`."""
    if len(logs) < len(results):
        raise ValueError("reports of `live --monitor` have a page of their own: give these alone")
    field = import_light("kgated.report.field")
    page = field.render_field([field.read_field_log(path) for path in logs], title)
    import_light("kgated.atomic_write").replace_file(output, page.encode())
    typer.echo(f"{output}: {len(logs)} results")
