"""Runs a model on frames as they arrive, and reports the events."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

from kgated_edge.errors import EdgeError
from kgated_edge.events.detector import Event
from kgated_edge.events.stream import EventStream
from kgated_edge.ingest.finite_steps import RECOVERY, Warn
from kgated_edge.ingest.input_counts import InputCounts
from kgated_edge.ingest.runner import (
    END_OF_INPUT,
    INTERRUPTED,
    READER_GONE,
    REFUSED,
    StreamingHistogram,
)
from kgated_edge.runtime.not_finite import explain_not_finite

WriteEvent = Callable[[Event], None]


@dataclass(frozen=True)
class EventsResult:
    """Summary of a run over events.

    Attributes:
        steps: steps run.
        events: events that ended.
        held_frames, skipped_frames, ended, error: as in `LiveResult`.
        compute_us_p50, compute_us_p99, compute_us_max, compute_us_mean: time of one step of model
            and detector.
        engine: what ran the model.
        not_finite_steps: steps with NaN or inf in the scores, see `EventStream.step`.
    """

    steps: int
    events: int
    held_frames: int
    skipped_frames: int
    ended: str
    error: str | None
    compute_us_p50: float | None
    compute_us_p99: float | None
    compute_us_max: float | None
    compute_us_mean: float | None
    engine: str = "litert"
    not_finite_steps: int = 0


def live_events(
    stream: EventStream,
    blocks: Iterator[Any],
    write: WriteEvent,
    write_start: WriteEvent | None = None,
    keep_open: bool = False,
    counts: InputCounts | None = None,
    warn: Warn | None = None,
) -> EventsResult:
    """Runs a model until the input ends, SIGINT, a refused frame, or a closed output.

    Args:
        stream: it continues from its current state.
        blocks: the argument of each step, as from `live_blocks`.
        write: receives each event when it ends.
        write_start: receives each event as soon as it is detected; its end is that of the step.
        keep_open: whether an event that is open at the end of the input stays open, for a run that
            continues; else it ends there.
        counts: those of the input that `blocks` reads.
        warn: receives a sentence at the first step with NaN or inf in the scores.
    """
    times, reporter = StreamingHistogram(), _Reporter(stream, write, write_start)
    ended, error, counts = END_OF_INPUT, None, counts or InputCounts()
    not_finite_before = stream.not_finite_steps
    try:
        for block in blocks:
            begin = perf_counter_ns()
            events = stream.step(block)
            times.add(perf_counter_ns() - begin)
            reporter.report(events)
            if warn is not None and stream.not_finite_steps > not_finite_before:
                warn(f"step {reporter.steps}: {explain_not_finite(block)}{RECOVERY}")
                warn = None
    except KeyboardInterrupt:
        ended = INTERRUPTED
    except BrokenPipeError:
        ended = READER_GONE
    except EdgeError as refused:
        ended, error = REFUSED, f"after {reporter.steps} steps: {refused}"
    if not keep_open and ended != READER_GONE:
        ended = reporter.close() or ended
    return EventsResult(
        reporter.steps,
        reporter.events,
        stream.model.held_frames + counts.held_frames,
        counts.skipped_frames,
        ended,
        error,
        **times.metrics(),
        engine=stream.model.engine,
        not_finite_steps=stream.not_finite_steps - not_finite_before,
    )


class _Reporter:
    """Writes the events of a run.

    Attributes:
        steps, events: how many there were.
    """

    def __init__(
        self, stream: EventStream, write: WriteEvent, write_start: WriteEvent | None
    ) -> None:
        self.steps = self.events = 0
        self._stream, self._write, self._write_start = stream, write, write_start
        self._started = self._open_since()

    def report(self, events: tuple[Event, ...]) -> None:
        """Writes the events that ended with a step, and one that it started."""
        self.steps += 1
        for event in events:
            self.events += 1
            self._write(event)
        if self._write_start is not None:
            before, self._started = self._started, self._open_since()
            opened = self._stream.detector.open_event
            if opened is not None and self._started != before:
                self._write_start(opened)

    def close(self) -> str | None:
        """Ends the open event; returns how the run ended where nobody reads any more."""
        try:
            for event in self._stream.finish():
                self.events += 1
                self._write(event)
        except BrokenPipeError:
            return READER_GONE
        return None

    def _open_since(self) -> float | None:
        opened = self._stream.detector.open_event
        return None if opened is None else opened.detected_s
