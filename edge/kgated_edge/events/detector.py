"""Finds events in scores, step by step."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kgated_edge.errors import EdgeError, FrameError, StateError
from kgated_edge.events.smoothing import Scores, make_smoother
from kgated_edge.format.event_settings import EventSettings, steps_of
from kgated_edge.format.tensor_spec import Array

_NONE = -1


class Event(NamedTuple):
    """One event; times are seconds from the first step after a reset.

    Attributes:
        label: name of the class.
        start_s: start of the step at which its smoothed score reached `on`.
        end_s: start of the step at which it fell below `off`, or of the one that ended it.
        peak_s: start of the step with the highest smoothed score.
        score: the highest smoothed score.
        detected_s: end of the step at which it was known to be an event.
    """

    label: str
    start_s: float
    end_s: float
    peak_s: float
    score: float
    detected_s: float


class Track:
    """A class that is active: from which step, and its highest value so far."""

    __slots__ = ("peak", "peak_step", "start")

    def __init__(self, start: int, peak: float, peak_step: int) -> None:
        self.start, self.peak, self.peak_step = start, peak, peak_step


class EventDetector:
    """Finds events in the scores of a model, in constant memory.

    A class is active from the step at which its smoothed score reaches `on` until it falls below
    `off`. Once it has been active for `min_duration_s` it is an event, unless another event is
    open: one of a higher priority ends the open event, others wait, and count from its end. After
    an event its class stays inactive for `refractory_s`. Events do not overlap.

    Args:
        labels: a name per score.
        step_s: seconds from one step to the next.
        settings: by default `EventSettings()`.

    Raises:
        EdgeError: no labels or a label twice, a step that is not above 0, settings for a class
            that is not among the labels, or all classes in the background.

    Example:
        >>> detector = EventDetector(("yes", "no"), 0.01)
        >>> for frame in frames:
        ...     for event in detector.step(model.step(frame)):
        ...         print(event.label, event.start_s)
        >>> events = detector.finish()      # the event that is open at the end
    """

    def __init__(
        self, labels: Sequence[str], step_s: float, settings: EventSettings | None = None
    ) -> None:
        self.labels, self.step_s = tuple(labels), step_s
        self.settings = settings = settings or EventSettings()
        _check(self.labels, step_s, settings)
        self._smoother = smoother = make_smoother(settings, len(labels), step_s)
        thresholds = [settings.threshold(label) for label in labels]
        self._on = np.array([np.inf if t is None else t.on * smoother.scale for t in thresholds])
        self._off = [np.inf if t is None else t.off * smoother.scale for t in thresholds]
        self._priority = [0 if t is None else t.priority for t in thresholds]
        self._min_steps = max(1, steps_of(settings.min_duration_s, step_s))
        self._quiet_steps = steps_of(settings.refractory_s, step_s)
        self._is_on = np.zeros(len(labels), np.bool_)
        self._zeros = np.zeros(len(labels), np.float32)
        self._shape = (len(labels),)
        self.reset()

    def reset(self) -> None:
        """Starts anew, at time zero."""
        self._smoother = make_smoother(self.settings, len(self.labels), self.step_s)
        self._push = self._smoother.push
        self._step = 0
        self._tracks: dict[int, Track] = {}
        self._open = self._confirmed = _NONE
        self._quiet_until = [0] * len(self.labels)

    @property
    def steps(self) -> int:
        """Steps since the reset."""
        return self._step

    @property
    def open_event(self) -> Event | None:
        """The event that has been detected and has not ended; its end is the present."""
        return None if self._open == _NONE else self._event(self._open, self._step)

    def step(self, scores: Scores) -> tuple[Event, ...]:
        """Processes the scores of one step.

        Args:
            scores: (C,) floats, one per label.

        Returns:
            the events that ended with this step, mostly none.

        Raises:
            FrameError: no array, another shape, or NaN or inf; nothing has changed.
        """
        # 0 · x is 0 for every finite x: one product in place of a test per score.
        is_array = type(scores) is np.ndarray and scores.shape == self._shape
        # `vdot`, since `dot` warns of infinity.
        if not is_array or np.vdot(scores, self._zeros) != 0:
            raise _refusal(scores, self._shape)
        values, step = self._push(scores), self._step
        self._step = step + 1
        np.greater_equal(values, self._on, self._is_on)
        is_on = self._is_on.tolist()
        if not self._tracks and True not in is_on:
            return ()
        return self._advance(step, values.tolist(), is_on)

    def finish(self) -> tuple[Event, ...]:
        """Ends the open event, returns it, and resets the detector."""
        event = self.open_event
        self.reset()
        return () if event is None else (event,)

    def _advance(self, step: int, values: list[float], is_on: list[bool]) -> tuple[Event, ...]:
        events: list[Event] = []
        for k, value in enumerate(values):
            track = self._tracks.get(k)
            if track is None:
                if is_on[k] and step >= self._quiet_until[k]:
                    self._tracks[k] = Track(step, value, step)
            elif value < self._off[k]:
                if k == self._open:
                    events.append(self._close(step, values))
                else:
                    del self._tracks[k]
            elif value > track.peak:
                track.peak, track.peak_step = value, step
        self._choose(step, values, events)
        return tuple(events)

    def _choose(self, step: int, values: list[float], events: list[Event]) -> None:
        """Opens an event of the best class that has been active long enough."""
        ready = [k for k, t in self._tracks.items() if step - t.start + 1 >= self._min_steps]
        if not ready:
            return
        best = max(ready, key=lambda k: (self._priority[k], values[k], -k))
        if self._open != _NONE:
            if self._priority[best] <= self._priority[self._open]:
                return
            track = self._tracks[best]
            events.append(self._close(step, values))
            self._tracks[best] = track
        self._open, self._confirmed = best, step

    def _close(self, step: int, values: list[float]) -> Event:
        """Ends the open event; classes that waited for its end start anew."""
        k = self._open
        event = self._event(k, step)
        del self._tracks[k]
        self._open, self._confirmed = _NONE, _NONE
        self._quiet_until[k] = step + self._quiet_steps
        for waiting in self._tracks:
            self._tracks[waiting] = Track(step, values[waiting], step)
        return event

    def _event(self, k: int, end: int) -> Event:
        track, period = self._tracks[k], self.step_s
        return Event(
            self.labels[k],
            round(track.start * period, 9),
            round(end * period, 9),
            round(track.peak_step * period, 9),
            track.peak / self._smoother.scale,
            round((self._confirmed + 1) * period, 9),
        )

    @property
    def state(self) -> dict[str, Array]:
        """A copy of all that the detector keeps, by name; it can be assigned.

        Anything that is not the state of a detector with the same settings raises `StateError` and
        changes nothing.
        """
        tracks = [(k, t.start, t.peak_step, t.peak) for k, t in self._tracks.items()]
        arrays: dict[str, Array] = {
            "settings": np.array(self._digest()),
            "position": np.array([self._step, self._open, self._confirmed], np.int64),
            "quiet_until": np.array(self._quiet_until, np.int64),
            "tracks": np.array([t[:3] for t in tracks], np.int64).reshape(-1, 3),
            "peaks": np.array([t[3] for t in tracks], np.float64),
        }
        return arrays | {name: a.copy() for name, a in self._smoother.arrays.items()}

    @state.setter
    def state(self, arrays: Mapping[str, Array]) -> None:
        self._check_state(arrays)
        for name, array in self._smoother.arrays.items():
            array[...] = arrays[name]
        self._smoother.restored()
        self._step, self._open, self._confirmed = map(int, arrays["position"])
        self._quiet_until = arrays["quiet_until"].tolist()
        rows = zip(arrays["tracks"].tolist(), arrays["peaks"].tolist(), strict=True)
        self._tracks = {k: Track(start, peak, at) for (k, start, at), peak in rows}

    def _check_state(self, arrays: Mapping[str, Array]) -> None:
        expected = self.state
        if set(arrays) != set(expected) or str(arrays["settings"]) != self._digest():
            raise StateError(
                "this is the state of a detector with other settings, labels or step time: "
                "use the settings that it was saved with"
            )
        for name, array in expected.items():
            value, is_list = arrays[name], name in ("tracks", "peaks")
            fits = value.dtype.kind == array.dtype.kind and value.ndim == array.ndim
            if not fits or (not is_list and value.shape != array.shape) or not _is_finite(value):
                raise _damaged(name)
        self._check_positions(arrays)

    def _check_positions(self, arrays: Mapping[str, Array]) -> None:
        """Checks the values that are used as indices, and those that depend on each other."""
        step, opened, confirmed = map(int, arrays["position"])
        tracks, size = arrays["tracks"], len(self.labels)
        if tracks.shape != (len(arrays["peaks"]), 3):
            raise _damaged("tracks")
        classes = tracks[:, 0].tolist()
        is_valid = len(set(classes)) == len(classes) and set(classes) <= set(range(size))
        is_valid &= bool(((tracks[:, 1:] >= 0) & (tracks[:, 1:] < step)).all())
        if not is_valid or (opened != _NONE and opened not in classes):
            raise _damaged("tracks")
        if not _NONE <= confirmed < max(step, 1) or (opened == _NONE) != (confirmed == _NONE):
            raise _damaged("position")
        if "place" in arrays and not 0 <= int(arrays["place"][0]) < self._smoother.scale:
            raise _damaged("place")

    def _digest(self) -> str:
        """The digest of the settings that a state depends on."""
        parts = [self.settings.to_plain(), list(self.labels), self.step_s]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _is_finite(array: Array) -> bool:
    return array.dtype.kind == "U" or bool(np.isfinite(array).all())


def _damaged(name: str) -> StateError:
    return StateError(f"detector state `{name}` is damaged: save the state again")


def _refusal(scores: Any, shape: tuple[int, ...]) -> FrameError:
    is_array = isinstance(scores, np.ndarray)
    got = f"shape {scores.shape}" if is_array else f"a {type(scores).__name__}"
    if is_array and scores.shape == shape and not np.isfinite(scores).all():
        got = "NaN or inf"
    return FrameError(f"scores must be finite, of shape {shape}, got {got}: check the model")


def _check(labels: tuple[str, ...], step_s: float, settings: EventSettings) -> None:
    if not labels or len(set(labels)) != len(labels):
        raise EdgeError(f"`labels` must be different names, one per score, got {list(labels)}")
    if not 0 < step_s < float("inf"):
        raise EdgeError(f"`step_s` must be above 0, got {step_s!r}")
    for name in (*settings.classes, *settings.background):
        if name not in labels:
            raise EdgeError(f"the settings name the class {name!r}, the labels are {list(labels)}")
    if all(settings.threshold(label) is None for label in labels):
        raise EdgeError("all classes are in the background: leave one out of `background`")
