"""The scores of a model's steps: its first output, or the error of what it repeats or predicts."""

from collections.abc import Callable
from typing import Any

import numpy as np

from kgated_edge.errors import EdgeError
from kgated_edge.events.smoothing import Scores
from kgated_edge.format.event_settings import EventSettings
from kgated_edge.format.manifest import Manifest
from kgated_edge.runtime.batching import as_dict

ANOMALY = "anomaly"
"""The label of the only score where the score is an error."""
BACKGROUND_NAMES = (
    "_background_",
    "_background_noise_",
    "_noise_",
    "_silence_",
    "_unknown_",
    "background",
    "noise",
    "none",
    "other",
    "silence",
    "unknown",
)
"""Labels that are no events where there are no settings."""
Scorer = Callable[[Any, Any], Scores]
"""(frame, result of the step) -> scores (C,)."""


def score_labels(manifest: Manifest, score: str) -> tuple[str, ...]:
    """A name per score of a model.

    Args:
        manifest: of the model.
        score: one of `SCORES`.

    Raises:
        EdgeError: the model has no such score.
    """
    _check(manifest, score)
    if score != "output":
        return (ANOMALY,)
    size = manifest.outputs[0].size
    return manifest.labels or tuple("event" if size == 1 else str(k) for k in range(size))


def default_settings(manifest: Manifest) -> EventSettings:
    """The settings in a manifest, or defaults without the classes of `BACKGROUND_NAMES`."""
    if manifest.events is not None:
        return manifest.events
    labels = score_labels(manifest, "output")
    background = tuple(name for name in labels if name.lower() in BACKGROUND_NAMES)
    return EventSettings(background=background if len(background) < len(labels) else ())


def step_seconds(manifest: Manifest, sample_period_s: float | None = None) -> float:
    """Seconds from one step to the next.

    Raises:
        EdgeError: neither the manifest nor the argument has a sample period.
    """
    period = sample_period_s or manifest.sample_period_s
    if period is None:
        raise EdgeError(
            "the model has no sample period, which events need: give `sample_period_s` "
            "(--period-ms), or convert it with --sample-period-ms"
        )
    return period * manifest.frames_per_step


def make_scorer(manifest: Manifest, score: str) -> Scorer:
    """A function that computes the scores of each step in order.

    Args:
        manifest: of the model.
        score: one of `SCORES`.

    Raises:
        EdgeError: the model has no such score.
    """
    _check(manifest, score)
    if score == "reconstruction":
        return lambda frame, result: _error(frame, result)
    if score == "prediction":
        return Prediction().scores
    specs = manifest.outputs
    if len(specs) == 1:
        return lambda frame, result: result
    first = specs[0].name
    return lambda frame, result: as_dict(specs, result)[first]


class Prediction:
    """The error of each frame against the prediction of the step before; 0 for the first.

    Attributes:
        last: the prediction of the last step, or None.
    """

    def __init__(self) -> None:
        self.last: Scores | None = None

    def scores(self, frame: Scores, result: Scores) -> Scores:
        """The error (1,) of a frame, whose step returned `result`."""
        predicted, self.last = self.last, result
        return np.zeros(1, np.float32) if predicted is None else _error(frame, predicted)


def _error(frame: Scores, result: Scores) -> Scores:
    """Root mean square of the differences, (1,)."""
    difference = frame - result
    # `vdot`, since `dot` warns of an overflow.
    square = np.vdot(difference, difference) / difference.size
    return np.asarray(np.sqrt(square), np.float32).reshape(1)


def _check(manifest: Manifest, score: str) -> None:
    if manifest.mode != "stream" or manifest.batch > 1:
        raise EdgeError(
            f"events need a model of mode 'stream' with a batch of 1, this one has the mode "
            f"'{manifest.mode}' and a batch of {manifest.batch}: convert it with these, without "
            "layers that need later frames"
        )
    if manifest.results_per_step > 1:
        raise EdgeError(
            f"events need one result per step, this model has {manifest.results_per_step}: convert "
            'it with `results="last"` (--results last), or without `block`'
        )
    first = manifest.outputs[0]
    if score == "output":
        if len(first.shape) != 1:
            raise EdgeError(
                f"events need a first output of one axis, a score per class, got {first.shape}"
            )
        return
    frames = manifest.frames
    is_alike = len(frames) == 1 and frames[0].is_real and frames[0].shape == first.shape
    if not is_alike or manifest.frames_per_step > 1:
        raise EdgeError(
            f"score {score!r} needs an output of the shape of the only input, one frame per step, "
            f"got the output {first.shape} and the inputs {[f.shape for f in frames]} with "
            f"{manifest.frames_per_step} frames per step"
        )
