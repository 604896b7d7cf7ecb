"""A monitor with its files, for one run."""

from collections.abc import Sequence
from typing import Any

from kgated_edge.errors import StateError
from kgated_edge.format.manifest import Manifest
from kgated_edge.ingest.input_counts import InputCounts
from kgated_edge.runtime.stream_model import EdgeModel
from kgated_edge.telemetry.monitor import FieldMonitor, States
from kgated_edge.telemetry.writer import MonitorFiles

INTERVAL_S = 60.0
_STEPS_WITHOUT_PERIOD = 6000


class MonitorSession:
    """Watches a run and writes a report per interval.

    Args:
        path: of the JSON lines, see `MonitorFiles`.
        manifest: of the model.
        counts: those of the input.
        interval_s: stream time from one report to the next; without a sample period a report comes
            every 6000 steps.
        inputs: files of the run, which must not be written.

    Raises:
        EdgeError: the files cannot be written, or are inputs.
    """

    def __init__(
        self,
        path: str,
        manifest: Manifest,
        counts: InputCounts,
        interval_s: float = INTERVAL_S,
        inputs: Sequence[str] = (),
    ) -> None:
        self._files, self._manifest, self._counts = MonitorFiles(path, inputs), manifest, counts
        self._monitor = FieldMonitor(manifest)
        period = manifest.sample_period_s
        step_s = None if period is None else period * manifest.frames_per_step
        self._interval = _STEPS_WITHOUT_PERIOD if step_s is None else round(interval_s / step_s)
        self._interval = max(1, self._interval)
        self._step = self._late = 0
        self._next = self._interval

    def attach(self, model: Any) -> None:
        """Watches the states of a model too, where they can be read."""
        self._monitor = FieldMonitor(self._manifest, _states_of(model))

    def watch(self, frame: Any, result: Any, is_late: bool) -> None:
        """Takes one step; see `live`."""
        self._monitor.watch(frame, result)
        self._step += 1
        self._late += is_late
        if self._step == self._next:
            self.write()

    def write(self) -> None:
        """Writes the interval so far; at the end of a run the last one."""
        counts, self._next = self._counts, self._step + self._interval
        totals = {
            "late_steps": self._late,
            "held_frames": counts.held_frames,
            "skipped_frames": counts.skipped_frames,
            "bad_lines": counts.bad_lines,
            "not_finite_steps": counts.not_finite_steps,
        }
        report = self._monitor.report()
        if report.steps:
            self._files.write(self._step, report, totals)


def _states_of(model: Any) -> States | None:
    """A function that reads the states of a model; None where they are internal."""
    if not isinstance(model, EdgeModel):
        return None
    try:
        _ = model.state
    except StateError:
        return None
    return lambda: model.state
