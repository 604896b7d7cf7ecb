"""The command `kgated-edge live`: JSON lines for a shell pipe."""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from kgated_edge.cli.arguments import above_zero, count
from kgated_edge.cli.closed_pipe import discard_output, write_error
from kgated_edge.cli.output import finite
from kgated_edge.cli.reading import add_live_reading, reading_of
from kgated_edge.errors import DataError, EdgeError
from kgated_edge.evaluation.tasks import check_alone
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.reader import read_manifest
from kgated_edge.ingest.reading import Reading
from kgated_edge.ingest.result_lines import LIVE_TASKS
from kgated_edge.ingest.runner import READER_GONE, LiveResult, live, live_blocks
from kgated_edge.ingest.sources import FORMATS, form_of
from kgated_edge.ingest.windows import WindowedModel, windowed
from kgated_edge.runtime.stream_model import EdgeModel
from kgated_edge.telemetry.session import INTERVAL_S, MonitorSession


def add_live(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add = parser.add_argument
    add(
        "--task",
        choices=(*LIVE_TASKS, "classes", "numbers"),
        metavar="TASK",
        help="whether outputs are a decision: classification, regression (by the model)",
    )
    add("--deadline-ms", type=above_zero, metavar="MS", help="count steps that take longer")
    add("--every", type=count(1), default=1, metavar="N", help="write every Nth result (1)")
    add("--monitor", metavar="OUT", help="append a report per interval here, and to OUT.prom")
    add("--monitor-s", type=above_zero, default=INTERVAL_S, metavar="S", help="interval (60)")
    add_input(parser)


def add_input(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of a command that reads frames as they arrive."""
    add = parser.add_argument
    add(
        "input", nargs="?", default="-", metavar="INPUT", help="a file, or - for standard input (-)"
    )
    add("--format", choices=FORMATS, help="of the input (by the file's suffix, else float32)")
    add_live_reading(parser)


def run_live(options: argparse.Namespace) -> LiveResult:
    """Runs the command; raises as `live`."""
    # All input is checked before an interpreter exists, since that writes to stderr.
    reading, manifest = reading_of(options), read_manifest(options.model)
    with input_blocks(options, manifest, reading) as blocks:
        monitor = _monitor(options, manifest, reading)
        model = opened_model(options)
        if monitor is not None:
            monitor.attach(model)
        result = live(
            model,
            blocks,
            write_line,
            options.task,
            deadline_ms=options.deadline_ms,
            every=options.every,
            counts=reading.counts,
            watch=None if monitor is None else monitor.watch,
            warn=write_warning,
        )
    if monitor is not None:
        monitor.write()
    if result.ended == READER_GONE:
        discard_output()
    return result


def _monitor(
    options: argparse.Namespace, manifest: Manifest, reading: Reading
) -> MonitorSession | None:
    if options.monitor is None:
        return None
    inputs = [name for name in (options.model, options.input, options.json) if name is not None]
    return MonitorSession(options.monitor, manifest, reading.counts, options.monitor_s, inputs)


def opened_model(options: argparse.Namespace) -> EdgeModel | WindowedModel:
    """The model, in staggered copies where `--window` is in seconds."""
    model = EdgeModel(options.model, options.threads, engine=options.engine)
    window, hop = options.window, options.hop
    if isinstance(window, float):
        return windowed(model, window, hop if isinstance(hop, float) else None)
    if isinstance(hop, float):
        raise EdgeError("--hop in seconds needs --window in seconds, such as 2.0: give both")
    return model


@contextmanager
def input_blocks(
    options: argparse.Namespace, manifest: Manifest, reading: Reading
) -> Iterator[Iterator[Any]]:
    """The argument of each step, from the input that the options name."""
    form = options.format or form_of(Path(options.input))
    reading.check((form,))
    if sys.stdout is None:
        raise EdgeError("standard output is closed, but results go there: open it")
    check_alone(manifest)
    stream = _open(options.input)
    try:
        yield live_blocks(manifest, stream, form, **reading.block_options())
    finally:
        if options.input != "-":
            stream.close()


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


def write_warning(text: str) -> None:
    """Writes a warning to standard error, while the run goes on."""
    write_error(f"kgated-edge: warning: {text}")


def write_line(line: dict[str, Any]) -> None:
    """Writes one result as a line of JSON."""
    sys.stdout.write(json.dumps(finite(line), separators=(",", ":"), allow_nan=False) + "\n")
    sys.stdout.flush()
