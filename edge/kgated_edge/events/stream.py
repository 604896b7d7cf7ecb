"""A model with a detector on its outputs: frames in, events out."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kgated_edge.errors import FrameError, StateError
from kgated_edge.events.detector import Event, EventDetector
from kgated_edge.events.scores import (
    Prediction,
    default_settings,
    make_scorer,
    score_labels,
    step_seconds,
)
from kgated_edge.format.event_settings import EventSettings
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.tensor_spec import Array
from kgated_edge.runtime.not_finite import reset_not_finite
from kgated_edge.runtime.state_checks import are_finite, check_states
from kgated_edge.runtime.state_file import check_external, read_arrays, write_arrays
from kgated_edge.runtime.stream_model import EdgeModel

_MODEL, _DETECTOR, _PREDICTION = "state.", "events.", "prediction"


def detector_of(
    manifest: Manifest, settings: EventSettings | None = None, sample_period_s: float | None = None
) -> EventDetector:
    """The detector of a model.

    Args:
        manifest: of the model.
        settings: in place of those of the manifest.
        sample_period_s: in place of that of the manifest.

    Raises:
        EdgeError: no sample period, or settings that do not fit the model.
    """
    settings = settings or default_settings(manifest)
    labels = score_labels(manifest, settings.score)
    return EventDetector(labels, step_seconds(manifest, sample_period_s), settings)


class EventStream:
    """Runs a model frame by frame and returns the events.

    Args:
        model: it continues from its current state.
        settings: by default those of the manifest, or `EventSettings()`.
        sample_period_s: by default that of the manifest.

    Attributes:
        model, detector: the parts.
        not_finite_steps: steps with NaN or inf in the scores; see `step`.

    Raises:
        EdgeError: no sample period, or settings that do not fit the model.

    Example:
        >>> stream = EventStream(EdgeModel("keyword.tflite"))
        >>> for frame in frames:
        ...     for event in stream.step(frame):
        ...         print(event.label, event.start_s, event.end_s)
    """

    def __init__(
        self,
        model: EdgeModel,
        settings: EventSettings | None = None,
        sample_period_s: float | None = None,
    ) -> None:
        self.model, self.not_finite_steps = model, 0
        self.detector = detector_of(model.manifest, settings, sample_period_s)
        score = self.detector.settings.score
        self._prediction = Prediction() if score == "prediction" else None
        self._scores = (
            make_scorer(model.manifest, score)
            if self._prediction is None
            else self._prediction.scores
        )

    def step(self, frame: Any) -> tuple[Event, ...]:
        """Runs one step; returns the events that ended with it. Raises as `EdgeModel.step`.

        A frame of finite but huge numbers can make scores NaN or infinite. Such a step is counted
        in `not_finite_steps`: NaN is a score of 0, infinity the largest float32, and a state that
        is not finite is reset. The time and the open event go on.
        """
        scores = self._scores(frame, self.model.step(frame))
        try:
            return self.detector.step(scores)
        except FrameError:  # looked for here, so that other steps take no longer
            if not isinstance(scores, np.ndarray) or np.isfinite(scores).all():
                raise
        self.not_finite_steps += 1
        self._recover()
        return self.detector.step(np.nan_to_num(scores))

    def _recover(self) -> None:
        """Resets the model where its state is not finite, and drops such a prediction."""
        prediction = self._prediction
        if prediction is not None and prediction.last is not None:
            prediction.last = prediction.last if are_finite([prediction.last]) else None
        reset_not_finite(self.model)

    def finish(self) -> tuple[Event, ...]:
        """Ends the open event, returns it, and resets the stream."""
        events = self.detector.finish()
        self.reset()
        return events

    def reset(self) -> None:
        """Sets the state of the model to zero, and the detector to time zero."""
        self.model.reset()
        self.detector.reset()
        if self._prediction is not None:
            self._prediction.last = None

    def save_state(self, path: str | Path) -> None:
        """Writes the states of model and detector to one file; whole or not at all.

        A state of the model, or a last prediction, that is not finite is reset before.

        `EdgeModel.load_state` reads the model's part of it.

        Raises:
            StateError: the file cannot be written, or the model's state is internal.
        """
        check_external(self.model.manifest)
        self._recover()
        arrays = {_MODEL + name: array for name, array in self.model.state.items()}
        arrays |= {_DETECTOR + name: array for name, array in self.detector.state.items()}
        if self._prediction is not None and self._prediction.last is not None:
            arrays[_PREDICTION] = self._prediction.last
        write_arrays(path, self.model.manifest.file_sha256, arrays)

    def load_state(self, path: str | Path) -> None:
        """Loads the states that `save_state` wrote.

        Raises:
            StateError: no such file, damaged, of another model file or of other settings; nothing
                has changed.
        """
        manifest = self.model.manifest
        check_external(manifest)
        arrays = read_arrays(path, manifest.file_sha256)
        states = _part(arrays, _MODEL)
        check_states(manifest.carried, states)
        prediction = arrays.get(_PREDICTION)
        if prediction is not None and self._prediction is not None:
            _check_prediction(manifest, prediction)
        self.detector.state = _part(arrays, _DETECTOR)
        self.model.state = states
        if self._prediction is not None:
            self._prediction.last = prediction


def override_settings(settings: EventSettings, **values: Any) -> EventSettings:
    """The settings, with those values that are not None; raises as `EventSettings`.

    Args:
        settings: to start from.
        values: fields of `EventSettings`; and `on` or `off`, for all classes.
    """
    chosen = {name: value for name, value in values.items() if value is not None}
    levels = {name: chosen.pop(name) for name in ("on", "off") if name in chosen}
    if levels:
        if "off" not in levels:
            # Hysteresis in the same proportion.
            levels["off"] = levels["on"] * 0.8 if levels["on"] > 0 else levels["on"]
        chosen["default"] = replace(settings.default, **levels)
        chosen["classes"] = {n: replace(t, **levels) for n, t in settings.classes.items()}
    return replace(settings, **chosen)


def _part(arrays: dict[str, Array], prefix: str) -> dict[str, Array]:
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}


def _check_prediction(manifest: Manifest, prediction: Array) -> None:
    shape = manifest.outputs[0].shape
    is_valid = prediction.shape == shape and prediction.dtype == np.float32
    if not is_valid or not np.isfinite(prediction).all():
        raise StateError("the saved prediction is damaged: save the state again")
