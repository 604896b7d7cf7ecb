"""Runs a model that was trained on windows in an endless stream: several staggered copies."""

from typing import Any

from kgated_edge.errors import EdgeError
from kgated_edge.format.event_settings import steps_of
from kgated_edge.format.manifest import Manifest
from kgated_edge.runtime.stream_model import EdgeModel

_MAX_COPIES = 256


class WindowedModel:
    """A result per hop, each of a window that starts from zero state.

    ⌈window / hop⌉ copies of the model run side by side, each one hop behind the one before. A copy
    starts from zero state, runs through its window, returns its last result, and starts anew.

    Args:
        model: its state is not used; its clones run.
        window: steps of a window.
        hop: steps from one result to the next.

    Raises:
        EdgeError: a hop longer than the window, or more copies than 256.
    """

    def __init__(self, model: EdgeModel, window: int, hop: int) -> None:
        if not 1 <= hop <= window:
            raise EdgeError(f"the hop must be 1 to {window} steps, the window, got {hop}")
        if model.manifest.results_per_step > 1:
            raise EdgeError(
                "a window takes the result of its last step, and this model has "
                f"{model.manifest.results_per_step} results per step: convert it without `block`"
            )
        count = -(-window // hop)
        if count > _MAX_COPIES:
            raise EdgeError(
                f"a window of {window} steps with a hop of {hop} needs {count} copies of the "
                f"model, at most {_MAX_COPIES} are run: take a longer hop"
            )
        self._model, self._window, self._hop = model, window, hop
        self._copies = [model.clone() for _ in range(count)]
        self.reset()

    @property
    def manifest(self) -> Manifest:
        """The manifest in the file."""
        return self._model.manifest

    @property
    def engine(self) -> str:
        """As in `EdgeModel`."""
        return self._model.engine

    @property
    def held_frames(self) -> int:
        """As in `EdgeModel`; the first copy counts for all."""
        return self._copies[0].held_frames

    @property
    def has_finite_state(self) -> bool:
        """True: a copy with NaN in its state recovers with its next window."""
        return True

    def step(self, frame: Any) -> Any:
        """Runs one frame, or block of frames, through all copies.

        Returns:
            the result of the copy whose window ended, as from `EdgeModel.step`; None between hops.
        """
        result = None
        for n, copy in enumerate(self._copies):
            place = self._positions[n]
            self._positions[n] = place + 1 if place + 1 < self._period else 0
            if not 0 <= place < self._window:
                continue
            if place == 0:
                copy.reset()
            output = copy.step(frame)
            if place == self._window - 1:
                result = output
        return result

    def reset(self) -> None:
        """All copies start anew, the first with the next frame."""
        self._period = len(self._copies) * self._hop
        self._positions = [-n * self._hop for n in range(len(self._copies))]


def windowed(model: EdgeModel, window_s: float, hop_s: float | None) -> WindowedModel:
    """A `WindowedModel` by seconds; the hop is a quarter of the window where there is none.

    Raises:
        EdgeError: a model without a sample period, or times that do not fit.
    """
    manifest = model.manifest
    if manifest.sample_period_s is None:
        raise EdgeError(
            "a window in seconds needs a model with a sample period: convert it with "
            "--sample-period-ms"
        )
    step_s = manifest.sample_period_s * manifest.frames_per_step
    window = steps_of(window_s, step_s)
    return WindowedModel(model, window, max(1, steps_of(hop_s or window_s / 4, step_s)))
