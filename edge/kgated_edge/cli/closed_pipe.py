"""Output to a pipe whose reader has ended, as by `| head -1`."""

import contextlib
import os
import sys
from collections.abc import Iterator

# The status of a process that SIGPIPE ended, as shells report it.
CLOSED_PIPE = 141


@contextlib.contextmanager
def flushed_output() -> Iterator[None]:
    """Writes what standard output buffers at the end of the block, also after `--help`.

    Raises:
        OSError: standard output cannot be written; BrokenPipeError where its reader has ended.
    """
    try:
        yield
    except SystemExit:
        _flush()
        raise
    _flush()


def discard_output() -> None:
    """Discards what a closed pipe cannot take, which Python would report at its exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except BrokenPipeError:
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, stream.fileno())
            os.close(nothing)


def write_error(line: str) -> None:
    """Writes a line to standard error; without a reader, the exit code alone reports the error."""
    try:
        print(line, file=sys.stderr, flush=True)
    except BrokenPipeError:
        discard_output()


def _flush() -> None:
    # None where the shell closed it with `>&-`.
    if sys.stdout is not None:
        sys.stdout.flush()
