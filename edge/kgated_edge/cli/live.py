"""The command `kgated-edge live`: JSON lines for a shell pipe."""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from kgated_edge.cli.arguments import above_zero, count, from_zero
from kgated_edge.cli.output import finite
from kgated_edge.errors import DataError, EdgeError
from kgated_edge.evaluation.tasks import check_alone
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.reader import read_manifest
from kgated_edge.ingest.runner import LIVE_TASKS, READER_GONE, LiveResult, live, live_blocks
from kgated_edge.ingest.sources import FORMATS, form_of
from kgated_edge.runtime.bad_frames import POLICIES, REFUSE
from kgated_edge.runtime.stream_model import EdgeModel

_SOUND = ("window", "hop", "low_hz", "high_hz")


def add_live(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        "--task", choices=LIVE_TASKS, help="whether outputs are a decision (by the model)"
    )
    add_input(parser)


def add_input(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of a command that reads frames as they arrive."""
    add = parser.add_argument
    add(
        "input", nargs="?", default="-", metavar="INPUT", help="a file, or - for standard input (-)"
    )
    add("--format", choices=FORMATS, help="of the input (by the file's suffix, else float32)")
    add(
        "--on-bad-frame",
        choices=POLICIES,
        default=REFUSE,
        help="for frames with NaN or inf (refuse)",
    )
    add("--rate", type=count(1), metavar="HZ", help="samples per second of pcm (16000)")
    add("--window", type=count(1), metavar="N", help="samples per frame of audio (400)")
    add("--hop", type=count(1), metavar="N", help="samples from frame to frame (160)")
    add("--low-hz", type=from_zero, metavar="F", help="lower limit of the bands (20)")
    add("--high-hz", type=above_zero, metavar="F", help="upper limit of the bands (half the rate)")


def run_live(options: argparse.Namespace) -> LiveResult:
    """Runs the command; raises as `live`."""
    # All input is checked before an interpreter exists, since that writes to stderr.
    with input_blocks(options, read_manifest(options.model)) as blocks:
        model = EdgeModel(options.model, options.threads, on_bad_frame=options.on_bad_frame)
        result = live(model, blocks, write_line, options.task)
    discard_rest(result.ended)
    return result


@contextmanager
def input_blocks(options: argparse.Namespace, manifest: Manifest) -> Iterator[Iterator[Any]]:
    """The argument of each step, from the input that the options name."""
    form = options.format or form_of(Path(options.input))
    sound = {name: value for name in _SOUND if (value := getattr(options, name)) is not None}
    if form not in ("wav", "pcm") and (sound or options.rate):
        raise EdgeError(
            f"--rate, --window, --hop, --low-hz and --high-hz are for audio, not {form}"
        )
    if sys.stdout is None:
        raise EdgeError("standard output is closed, but results go there: open it")
    check_alone(manifest)
    stream = _open(options.input)
    try:
        yield live_blocks(manifest, stream, form, options.rate, **sound)
    finally:
        if options.input != "-":
            stream.close()


def discard_rest(ended: str) -> None:
    """Where nobody reads the results any more, discards what Python still flushes at its exit."""
    if ended == READER_GONE:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open(name: str) -> IO[bytes]:
    if name == "-":
        if sys.stdin is None:
            raise DataError(
                "standard input is closed, but frames come from there: open it, or name a file"
            )
        return sys.stdin.buffer
    try:
        return Path(name).open("rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{name}: cannot be read ({reason}): check the path") from None


def write_line(line: dict[str, Any]) -> None:
    """Writes one result as a line of JSON."""
    sys.stdout.write(json.dumps(finite(line), separators=(",", ":"), allow_nan=False) + "\n")
    sys.stdout.flush()
