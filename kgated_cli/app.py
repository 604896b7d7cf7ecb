"""The command's frame: its exit status, its errors in a line, what native libraries log."""

import contextlib
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

BAD_INPUT = (ValueError, TypeError, OSError, ImportError)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command, with the process's arguments or those given.

    Exit status: 0, 1 (a check failed), 2 (bad input, one line on stderr), 3 (a defect of ours).
    """
    with native_logs_to_file() as log, warnings.catch_warnings():
        warnings.showwarning = _warn
        try:
            status = app(arguments, standalone_mode=False) or 0
        except typer.TyperException as error:
            _fail(f"{error.format_message()} See `kgated --help`.")
        except (typer.Abort, KeyboardInterrupt):
            raise SystemExit(130) from None
        except BAD_INPUT as error:
            _fail(str(error))
        except Exception as error:
            if type(error).__name__ == "ConversionError":
                _fail(str(error))
            traceback.print_exc()
            sys.stderr.write(f"The native libraries had logged:\n{Path(log).read_text()}")
            raise SystemExit(3) from None
        raise SystemExit(status)


@contextlib.contextmanager
def native_logs_to_file() -> Iterator[str]:
    """Send what C++ libraries write to stderr to a file; Python's own stderr stays as it is."""
    with tempfile.NamedTemporaryFile() as log:
        python, real = sys.stderr, os.dup(2)
        os.dup2(log.fileno(), 2)
        sys.stderr = os.fdopen(os.dup(real), "w", buffering=1)
        try:
            yield log.name
        finally:
            sys.stderr.close()
            sys.stderr = python
            os.dup2(real, 2)
            os.close(real)


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    sys.stderr.write(f"kgated: warning: {' '.join(str(message).split())}\n")


def _fail(message: str) -> NoReturn:
    sys.stderr.write(f"kgated: error: {' '.join(message.split())}\n")
    raise SystemExit(2)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kgated {version('kgated')}")
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Gated recurrent networks for Keras, made to run on a device in real time."""
