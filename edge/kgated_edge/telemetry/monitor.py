"""Collects statistics of a model in the field, at low cost per step and in bounded memory.

A step only copies its frame and result into buffers. Once these are full, all of their steps are
computed at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kgated_edge.format.feature_statistics import FeatureStatistics, shares_of
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.tensor_spec import Array, TensorSpec

BLOCK = 256
_MAX_VALUES = 3_000  # per block; of more, evenly spaced frames are used
_MIN_SHARE = 1e-4  # of a bin, so that its logarithm is finite
_MAX_FEATURES = 512
States = Callable[[], Mapping[str, Array]]


@dataclass(frozen=True)
class FieldReport:
    """The statistics of one interval.

    Attributes:
        steps: of the interval.
        outside_share: by feature, share of the frames outside of the training or calibrated range;
            None where the range is unknown.
        drift_psi: by feature, population stability index against the training data: below 0.1 as in
            training, above 0.25 clearly different; None where these are unknown.
        confidence_mean, confidence_min: of the largest score of a step, without steps whose scores
            are NaN; None for one output.
        state_norm: Euclidean norm of all states, mean over the interval; None where it is internal.
        state_saturated_share: of the state values of an integer file, share at the end of their
            range; None for float files.
    """

    steps: int
    outside_share: tuple[float, ...] | None
    drift_psi: tuple[float, ...] | None
    confidence_mean: float | None
    confidence_min: float | None
    state_norm: float | None
    state_saturated_share: float | None


class FieldMonitor:
    """Watches the steps of a model.

    Args:
        manifest: of the model, with one input.
        states: returns the states, as `EdgeModel.state` does; None where they cannot be read.
    """

    def __init__(self, manifest: Manifest, states: States | None = None) -> None:
        self._features = _Features.of(manifest)
        self._scores = _scores_buffer(manifest)
        self._states = None if states is None else _StateWatch(manifest, states)
        self._place = 0
        self._start()

    def watch(self, frame: Any, result: Any) -> None:
        """Takes the frame, or block of frames, and the result of one step."""
        place = self._place
        if self._features is not None:
            self._features.rows[place][...] = frame
        if self._scores is not None:
            self._score_rows[place][...] = result
        self._place = place + 1
        if self._place == BLOCK:
            self._compute()

    def report(self) -> FieldReport:
        """The statistics since the last report; starts a new interval."""
        self._compute()
        features, states, steps = self._features, self._states, self._steps
        outside, drift = (None, None) if features is None else features.report()
        scored = self._scored
        norm, saturated = (None, None) if states is None else states.report()
        report = FieldReport(
            steps,
            outside,
            drift,
            self._confidence_sum / scored if scored else None,
            self._confidence_min if scored else None,
            norm,
            saturated,
        )
        self._start()
        return report

    def _start(self) -> None:
        self._steps = self._scored = 0
        self._confidence_sum, self._confidence_min = 0.0, np.inf
        self._score_rows = [] if self._scores is None else list(self._scores)

    def _compute(self) -> None:
        count, self._place = self._place, 0
        if count == 0:
            return
        self._steps += count
        if self._features is not None:
            self._features.add(count)
        if self._scores is not None:
            largest = self._scores[:count].max(axis=1)
            largest = largest[np.isfinite(largest)]
            self._confidence_sum += float(largest.sum())
            self._confidence_min = min(self._confidence_min, float(largest.min(initial=np.inf)))
            self._scored += len(largest)
        if self._states is not None:
            self._states.add()


class _Features:
    """Ranges and distributions of the features.

    Attributes:
        rows: a view for each step of a block, of the shape of its frames.
    """

    def __init__(
        self,
        spec: TensorSpec,
        frames_per_step: int,
        low: Array,
        high: Array,
        known: FeatureStatistics | None,
    ) -> None:
        size = spec.size
        buffer = np.zeros((BLOCK, *spec.block(frames_per_step).shape), np.float32)
        self.rows, self._frames = list(buffer), buffer.reshape(BLOCK, frames_per_step, size)
        self._stride = -(-BLOCK * frames_per_step * size // _MAX_VALUES)
        self._known = known
        edges = np.zeros((size, 0)) if known is None else np.array(known.edges)
        # x > the number below `low` where x >= low.
        below = np.nextafter(low.astype(np.float32), np.float32(-np.inf))
        self._edges = np.column_stack([below, edges, high]).astype(np.float32)
        self._start()

    @classmethod
    def of(cls, manifest: Manifest) -> "_Features | None":
        """The statistics for the input of a model; None where its range is unknown."""
        spec = manifest.frames[0]
        if len(manifest.frames) > 1 or not spec.is_real or spec.size > _MAX_FEATURES:
            return None
        known = manifest.feature_statistics.get(spec.name)
        if known is not None:
            low, high = np.array(known.low), np.array(known.high)
        elif spec.is_quantized:
            limits, scale, zero = np.iinfo(spec.dtype), spec.scale or 1.0, spec.zero_point or 0
            low = np.full(spec.size, (limits.min - zero) * scale)
            high = np.full(spec.size, (limits.max - zero) * scale)
        else:
            return None
        return cls(spec, manifest.frames_per_step, low, high, known)

    def add(self, count: int) -> None:
        """Computes the first `count` steps of the block."""
        values = self._frames[:count].reshape(-1, len(self._edges))[:: self._stride]
        above = values[:, :, None] > self._edges
        self._above += np.count_nonzero(above, axis=0)
        self._count += len(values)

    def report(self) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
        """(outside_share, drift_psi); starts anew."""
        above, count = self._above, self._count
        self._start()
        if count == 0:
            return None, None
        outside = (count - above[:, 0] + above[:, -1]) / count
        drift = None
        if self._known is not None:
            shares = shares_of(above[:, 1:-1], count)
            drift = tuple(stability_index(shares, np.array(self._known.shares)).tolist())
        return tuple(outside.tolist()), drift

    def _start(self) -> None:
        self._above, self._count = np.zeros(self._edges.shape, np.int64), 0


class _StateWatch:
    """Norm and saturation of the states, read once per block."""

    def __init__(self, manifest: Manifest, states: States) -> None:
        self._specs, self._states = {spec.name: spec for spec in manifest.states}, states
        self._start()

    def add(self) -> None:
        """Reads the current states."""
        squares = 0.0
        for name, array in self._states().items():
            spec, values = self._specs[name], array.astype(np.float64)
            if spec.is_quantized:
                limits = np.iinfo(spec.dtype)
                self._saturated += int(((array == limits.min) | (array == limits.max)).sum())
                self._values += array.size
                values = (values - (spec.zero_point or 0)) * (spec.scale or 1.0)
            squares += float((values * values).sum())
        self._norms += squares**0.5
        self._looks += 1

    def report(self) -> tuple[float | None, float | None]:
        """(state_norm, state_saturated_share); starts anew."""
        norm = self._norms / self._looks if self._looks and self._specs else None
        saturated = self._saturated / self._values if self._values else None
        self._start()
        return norm, saturated

    def _start(self) -> None:
        self._norms, self._looks, self._saturated, self._values = 0.0, 0, 0, 0


def stability_index(
    shares: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Population stability index of each feature, Σ (a - e) ln(a / e).

    Args:
        shares: (F, bins) of the values met.
        expected: (F, bins) of the training values.
    """
    a, e = np.maximum(shares, _MIN_SHARE), np.maximum(expected, _MIN_SHARE)
    return np.asarray(((a - e) * np.log(a / e)).sum(axis=1))


def _scores_buffer(manifest: Manifest) -> Array | None:
    first = manifest.outputs[0]
    if len(manifest.outputs) > 1 or len(first.shape) != 1 or first.size < 2:
        return None
    return np.zeros((BLOCK, first.size), np.float32)
