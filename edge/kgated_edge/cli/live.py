"""The command `kgated-edge live`: JSON lines for a shell pipe."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import IO, Any

from kgated_edge.cli.arguments import above_zero, count, from_zero
from kgated_edge.cli.output import finite
from kgated_edge.errors import DataError, EdgeError
from kgated_edge.evaluation.tasks import check_alone
from kgated_edge.format.reader import read_manifest
from kgated_edge.ingest.runner import LIVE_TASKS, LiveResult, live, live_blocks
from kgated_edge.ingest.sources import FORMATS
from kgated_edge.runtime.bad_frames import POLICIES, REFUSE
from kgated_edge.runtime.stream_model import EdgeModel

_SOUND = ("window", "hop", "low_hz", "high_hz")


def add_live(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
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
    add(
        "--task",
        choices=(*LIVE_TASKS, "classes", "numbers"),
        metavar="TASK",
        help="whether outputs are a decision: classification, regression (by the model)",
    )
    add("--rate", type=count(1), metavar="HZ", help="samples per second of pcm (16000)")
    add("--window", type=count(1), metavar="N", help="samples per frame of audio (400)")
    add("--hop", type=count(1), metavar="N", help="samples from frame to frame (160)")
    add("--low-hz", type=from_zero, metavar="F", help="lower limit of the bands (20)")
    add("--high-hz", type=above_zero, metavar="F", help="upper limit of the bands (half the rate)")


def run_live(options: argparse.Namespace) -> LiveResult:
    """Runs the command; raises as `live`."""
    suffix = Path(options.input).suffix[1:].lower()
    form = options.format or (suffix if suffix in FORMATS else "float32")
    sound = {name: value for name in _SOUND if (value := getattr(options, name)) is not None}
    if form not in ("wav", "pcm") and (sound or options.rate):
        raise EdgeError(
            f"--rate, --window, --hop, --low-hz and --high-hz are for audio, not {form}"
        )
    if sys.stdout is None:
        raise EdgeError("standard output is closed, but results go there: open it")
    # All input is checked before an interpreter exists, since that writes to stderr.
    manifest = read_manifest(options.model)
    check_alone(manifest)
    stream = _open(options.input)
    try:
        blocks = live_blocks(manifest, stream, form, options.rate, **sound)
        model = EdgeModel(options.model, options.threads, on_bad_frame=options.on_bad_frame)
        result = live(model, blocks, _write, options.task)
    finally:
        if options.input != "-":
            stream.close()
    if result.ended == "reader gone":
        # Discards what Python still flushes at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return result


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


def _write(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(finite(line), separators=(",", ":"), allow_nan=False) + "\n")
    sys.stdout.flush()
