"""`kgated web`: a page that runs a model in the browser."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from kgated_cli import signature_options
from kgated_cli.app import app
from kgated_cli.light import import_light


@app.command()
def web(
    model: Annotated[Path, typer.Argument(help="A .tflite file of mode stream.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder to make for the page.")
    ] = Path("site"),
    litert_js: Annotated[
        Path | None,
        typer.Option(
            "--litert-js",
            help="Folder of the npm package @litertjs/core. Else npm fetches it once, to a cache.",
        ),
    ] = None,
    require_key: signature_options.RequireKey = None,
    version_file: signature_options.VersionFile = None,
) -> None:
    """Build a static page that runs a streaming model in the browser, with LiteRT.js."""
    file = signature_options.open_signed(model, require_key, version_file)
    folder = import_light("kgated.web.site").build_site(file, output, litert_js)
    serve = shlex.join(["python3", "-m", "http.server", "-d", str(output)])
    typer.echo(f"{folder}: a page that runs {model}; serve it, as by `{serve}`")
