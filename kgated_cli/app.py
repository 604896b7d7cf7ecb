"""The command's frame: its exit status, its errors in a line, what native libraries log."""

import contextlib
import logging
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
_OUT_OF_MEMORY = "out of memory: use a smaller model or smaller data"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command, with the process's arguments or those given.

    Exit status: 0, 1 (a check failed), 2 (bad input, one line on stderr), 3 (a defect of ours), 130
    (Ctrl-C), 141 (the reader of a pipe has ended). What native libraries log is shown in the case
    of a defect, and with `--verbose`.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    verbose = "--verbose" in words
    if verbose:  # wherever it stands
        words = ["--verbose", *(word for word in words if word != "--verbose")]
    try:
        with contextlib.nullcontext("") if verbose else quiet() as log, warnings.catch_warnings():
            warnings.showwarning = _warn
            raise SystemExit(_run_to_pipe(words, log))
    except MemoryError:  # before the command began, or after it
        _fail(_OUT_OF_MEMORY)
    except OSError as error:  # the file of the native logs
        _fail_of_file(error)


def _run_to_pipe(words: list[str], log: str) -> int:
    """The exit status; a closed pipe ends the command without a message."""
    try:
        status = _run(words, log)
        # None where the shell closed it with `>&-`.
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except (BrokenPipeError, SystemExit) as error:
        # Typer and rich exit with 1, as if a check had failed.
        if not isinstance(error.__context__ or error, BrokenPipeError):
            raise
        return _discard_output()


def _run(words: list[str], log: str) -> int:
    try:
        return app(words, prog_name="kgated", standalone_mode=False) or 0
    except BrokenPipeError:
        raise
    except typer.TyperException as error:
        # A command without arguments has printed its help.
        if not error.format_message():
            return 2
        command = getattr(getattr(error, "ctx", None), "command_path", "kgated")
        # Typer's messages end with or without a full stop.
        _fail(f"{error.format_message().rstrip('.')}. See `{command} --help`.")
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except OSError as error:
        _fail_of_file(error)
    except (MemoryError, SystemError):  # the second from extensions, with no error set
        _fail(_OUT_OF_MEMORY)
    except BAD_INPUT as error:
        _fail(str(error))
    except Exception as error:
        if "ConversionError" in (kind.__name__ for kind in type(error).__mro__):
            _fail(str(error))
        traceback.print_exc()
        if log:
            sys.stderr.write(f"The native libraries had logged:\n{Path(log).read_text()}")
        return 3


def _discard_output() -> int:
    """Discard what a closed pipe can't take; the exit status of a command that it ended."""
    from kgated_edge.cli.closed_pipe import CLOSED_PIPE, discard_output

    discard_output()
    return CLOSED_PIPE


@contextlib.contextmanager
def quiet() -> Iterator[str]:
    """Without what libraries log: in C++ it goes to a file, in Python it needs to be an error.

    Yields:
        The path of the file.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with native_logs_to_file() as log:
            yield log
    finally:
        logging.disable(before)


@contextlib.contextmanager
def native_logs_to_file() -> Iterator[str]:
    """Send what C++ libraries write to stderr to a file; Python's own stderr stays as it is."""
    with tempfile.NamedTemporaryFile() as log:
        python, real = sys.stderr, os.dup(2)
        try:
            os.dup2(log.fileno(), 2)
            sys.stderr = os.fdopen(os.dup(real), "w", buffering=1)
            yield log.name
        finally:
            if sys.stderr is not python:
                sys.stderr.close()
                sys.stderr = python
            os.dup2(real, 2)
            os.close(real)


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    sys.stderr.write(f"kgated: warning: {' '.join(str(message).split())}\n")


def _fail_of_file(error: OSError) -> NoReturn:
    from kgated_edge.errors import readable

    _fail(readable(error))


def _fail(message: str) -> NoReturn:
    try:
        sys.stderr.write(f"kgated: error: {' '.join(message.split())}\n")
    except BrokenPipeError:
        _discard_output()
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
    _verbose: Annotated[
        bool, typer.Option("--verbose", help="Show what TensorFlow and other libraries log.")
    ] = False,
) -> None:
    """Gated recurrent networks for Keras, made to run on a device in real time."""
