"""`kgated-edge check --events`: limits on misses, false accepts per hour and delay."""

import argparse
from typing import Any

from kgated_edge.cli.arguments import fraction, from_zero
from kgated_edge.cli.events import add_settings, period_of, settings_of
from kgated_edge.cli.reading import READING_OPTIONS, add_reading, reading_of
from kgated_edge.errors import EdgeError
from kgated_edge.evaluation.event_matching import COLLAR_S
from kgated_edge.format.reader import read_manifest
from kgated_edge.ingest.reading import check_labelled
from kgated_edge.ingest.sources import form_of
from kgated_edge.recordings.checker import EventCheckResult, check_events
from kgated_edge.recordings.reader import list_recordings

_EVENT_OPTIONS = ("max_false_accepts_per_hour", "max_miss_rate", "max_delay_ms", "collar_s")


def add_event_check(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments for a check of events to those of `check`."""
    add = parser.add_argument
    add(
        "--events",
        metavar="LABELS",
        help="events of the recordings in --data: a table file,start,end,label or a label track",
    )
    add("--max-false-accepts-per-hour", type=from_zero, metavar="N", help="limit; needs --events")
    add("--max-miss-rate", type=fraction, metavar="A", help="limit, 0..1; needs --events")
    add("--max-delay-ms", type=from_zero, metavar="MS", help="limit of 95%%; needs --events")
    add("--collar-s", type=from_zero, metavar="S", help=f"tolerance of the labels ({COLLAR_S})")
    add_settings(parser)
    add_reading(parser)


def refuse_event_options(options: argparse.Namespace) -> None:
    """Raises `EdgeError` for options of events without `--events`."""
    settings = ("smoothing", "smoothing_s", "on", "off", "min_duration_s", "refractory_s")
    for name in (*_EVENT_OPTIONS, *settings, "background", "period_ms", *READING_OPTIONS):
        if getattr(options, name) is not None:
            option = "--" + name.replace("_", "-")
            raise EdgeError(f"{option} is for a check of events: give --events, or leave it out")


def run_event_check(options: argparse.Namespace) -> EventCheckResult:
    """Runs the command; raises as `check_events`."""
    for name in ("min_accuracy", "task"):
        if getattr(options, name) is not None:
            option = "--" + name.replace("_", "-")
            raise EdgeError(f"{option} is for sequences with `y`, not for --events: leave it out")
    settings = settings_of(options, read_manifest(options.model))
    reading = reading_of(options)
    check_labelled(reading, {form_of(path) for path in list_recordings(options.data)})
    limits: dict[str, Any] = {
        name: getattr(options, name) for name in (*_EVENT_OPTIONS[:3], "deadline_ms", "max_misses")
    }
    return check_events(
        options.model,
        options.data,
        options.events,
        limits=options.limits,
        settings=settings,
        collar_s=COLLAR_S if options.collar_s is None else options.collar_s,
        sample_period_s=period_of(options),
        num_threads=options.threads,
        engine=options.engine,
        options=reading.block_options(),
        **limits,
    )
