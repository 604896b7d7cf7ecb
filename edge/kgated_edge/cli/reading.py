"""Options of the commands that read recordings or frames as they arrive."""

import argparse
from collections.abc import Sequence

from kgated_edge.cli.arguments import above_zero, count, from_zero, samples_or_seconds
from kgated_edge.ingest.input_counts import POLICIES, REFUSE
from kgated_edge.ingest.reading import LABELLED_POLICIES, Reading

_FAIL = "fail"  # a second name of "refuse"


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Adds the options for recordings in files, with labels by their times."""
    _add_lines(parser, LABELLED_POLICIES)
    add, samples = parser.add_argument, count(1)
    add("--window", type=samples, metavar="N", help="samples per frame of audio (400)")
    add("--hop", type=samples, metavar="N", help="samples from frame to frame (160)")
    _add_bands(parser)


def add_live_reading(parser: argparse.ArgumentParser) -> None:
    """Adds the options for frames as they arrive."""
    _add_lines(parser, POLICIES)
    add = parser.add_argument
    add("--input-rate", type=count(1), metavar="HZ", help="of pcm, where it differs from --rate")
    add(
        "--window",
        type=samples_or_seconds,
        metavar="N",
        help="samples per frame of audio (400); with a point, 2.0: seconds after which the state "
        "starts anew",
    )
    add(
        "--hop",
        type=samples_or_seconds,
        metavar="N",
        help="samples from frame to frame (160); with a point, 0.25: seconds from result to result",
    )
    _add_bands(parser)


def _add_lines(parser: argparse.ArgumentParser, policies: Sequence[str]) -> None:
    add = parser.add_argument
    add(
        "--on-bad-frame",
        choices=(*policies, _FAIL),
        help="for bad lines and frames with NaN or inf (refuse, also called fail)",
    )
    summary = "columns of csv, by name, or number from 1 (those of the training, else all)"
    add("--columns", metavar="A,B", help=summary)
    add("--time-column", metavar="A", help="column of csv with the time (one called time)")
    add("--rate", type=count(1), metavar="HZ", help="samples per second in training (the file's)")


def _add_bands(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--low-hz", type=from_zero, metavar="F", help="lower limit of the bands (20)")
    add("--high-hz", type=above_zero, metavar="F", help="upper limit of the bands (half the rate)")


READING_OPTIONS = (
    "on_bad_frame",
    "columns",
    "time_column",
    "rate",
    "window",
    "hop",
    "low_hz",
    "high_hz",
)
"""The names of the options that `add_reading` adds."""


def reading_of(options: argparse.Namespace) -> Reading:
    """The options as data; windows in seconds are no frames of audio and are left out."""
    values = {name: getattr(options, name) for name in READING_OPTIONS}
    values |= {n: None for n in ("window", "hop") if isinstance(values[n], float)}
    policy = values.pop("on_bad_frame")
    is_refused = policy in (None, _FAIL)
    return Reading(
        on_bad_frame=REFUSE if is_refused else policy,
        input_rate=getattr(options, "input_rate", None),
        **values,
    )
