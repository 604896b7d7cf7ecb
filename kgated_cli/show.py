"""`kgated inspect` and `kgated report`: what was made and measured, shown."""

import json
from pathlib import Path
from typing import Annotated

import typer

from kgated_cli.app import app


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="A .tflite file, ours or another tool's.")],
    report: Annotated[
        Path | None, typer.Option("--json", help="Write the same as JSON here.")
    ] = None,
) -> None:
    """Print what is in a .tflite file: signature, states, operators, sizes, recipe, manifest."""
    from rich.console import Console

    from kgated.atomic_write import replace_file
    from kgated.deploy.inspect import as_plain, describe, show

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
    from kgated.atomic_write import check_writable, replace_file
    from kgated.report.page import render
    from kgated.report.read import read_runs

    check_writable(output)
    if output.resolve() in [path.resolve() for path in results]:
        raise ValueError(f"{output}: this is one of the results: name another file for the page")
    runs = read_runs(results)
    replace_file(output, render(runs, title).encode())
    typer.echo(f"{output}: {len(runs)} results")
