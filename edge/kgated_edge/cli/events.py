"""The command `kgated-edge events`: a line of JSON per event."""

import argparse
from pathlib import Path
from typing import Any

from kgated_edge.cli.arguments import above_zero, from_zero, number
from kgated_edge.cli.closed_pipe import discard_output
from kgated_edge.cli.live import add_input, input_blocks, write_line, write_warning
from kgated_edge.cli.reading import reading_of
from kgated_edge.errors import EdgeError
from kgated_edge.events.detector import Event
from kgated_edge.events.scores import default_settings
from kgated_edge.events.stream import EventStream, detector_of, override_settings
from kgated_edge.format.event_settings import SMOOTHINGS, EventSettings
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.reader import read_manifest
from kgated_edge.ingest.event_runner import EventsResult, live_events
from kgated_edge.ingest.runner import READER_GONE
from kgated_edge.runtime.state_file import check_external
from kgated_edge.runtime.stream_model import EdgeModel

_SECONDS = ("smoothing_s", "min_duration_s", "refractory_s")


def add_events(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_input(parser)
    add_settings(parser)
    add = parser.add_argument
    add("--state", metavar="FILE", help="continue from this state, and save it there at the end")
    add(
        "--at-start",
        action="store_true",
        help="write a line when an event is detected too, before its end",
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that override the settings in the model file."""
    add = parser.add_argument
    add("--smoothing", choices=SMOOTHINGS, help="average of the scores (mean)")
    add("--smoothing-s", type=from_zero, metavar="S", help="its time in seconds, 0 for none")
    add("--on", type=number, metavar="X", help="score at which an event starts")
    add("--off", type=number, metavar="X", help="score below which it ends (0.8 of --on)")
    add("--min-duration-s", type=from_zero, metavar="S", help="shortest event in seconds")
    add("--refractory-s", type=from_zero, metavar="S", help="pause after an event of a class")
    add("--background", metavar="A,B", help="classes that are no events")
    add("--period-ms", type=above_zero, metavar="MS", help="between two frames (the model's)")


def settings_of(options: argparse.Namespace, manifest: Manifest) -> EventSettings:
    """The settings of the model file, with the options in place of theirs."""
    background = options.background
    return override_settings(
        default_settings(manifest),
        smoothing=options.smoothing,
        on=options.on,
        off=options.off,
        background=None if background is None else tuple(filter(None, background.split(","))),
        **{name: getattr(options, name) for name in _SECONDS},
    )


def period_of(options: argparse.Namespace) -> float | None:
    """The sample period in seconds that the options name."""
    return None if options.period_ms is None else float(options.period_ms) / 1e3


def run_events(options: argparse.Namespace) -> EventsResult:
    """Runs the command; raises as `EventStream` and `live_events`."""
    manifest = read_manifest(options.model)
    settings = settings_of(options, manifest)
    detector_of(manifest, settings, period_of(options))
    if options.state is not None:
        check_external(manifest)
    reading = reading_of(options)
    if isinstance(options.window, float) or isinstance(options.hop, float):
        raise EdgeError("windows in seconds are for `live`: give samples, or leave them out")
    with input_blocks(options, manifest, reading) as blocks:
        model = EdgeModel(options.model, options.threads, engine=options.engine)
        stream = EventStream(model, settings, period_of(options))
        if options.state is not None and Path(options.state).exists():
            stream.load_state(options.state)
        result = live_events(
            stream,
            blocks,
            lambda event: write_line(event_line(event)),
            (lambda event: write_line(start_line(event))) if options.at_start else None,
            keep_open=options.state is not None,
            counts=reading.counts,
            warn=write_warning,
        )
    if options.state is not None:
        stream.save_state(options.state)
    if result.ended == READER_GONE:
        discard_output()
    return result


def event_line(event: Event) -> dict[str, Any]:
    """An event as JSON, times in seconds."""
    return {
        "start": event.start_s,
        "end": event.end_s,
        "peak": event.peak_s,
        "label": event.label,
        "score": round(event.score, 6),
        "detected": event.detected_s,
    }


def start_line(event: Event) -> dict[str, Any]:
    """An event that has been detected and has not ended."""
    return {**event_line(event), "end": None, "peak": None}
