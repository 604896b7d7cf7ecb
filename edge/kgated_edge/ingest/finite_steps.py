"""Looks for NaN and inf in the results and the state of a run, and resets the state."""

from collections.abc import Callable
from typing import Any

from kgated_edge.ingest.input_counts import InputCounts
from kgated_edge.runtime.batching import as_dict
from kgated_edge.runtime.not_finite import Resettable, explain_not_finite, reset_not_finite
from kgated_edge.runtime.state_checks import are_finite

Warn = Callable[[str], None]
RECOVERY = "; after each such step the state is reset, unless it is finite"
_STEPS_PER_LOOK = 256
_HIDDEN = (
    f"the state holds NaN or inf, after a frame of huge numbers within the last {_STEPS_PER_LOOK} "
    "steps: clip such numbers before they come here"
)


class FiniteSteps:
    """Takes the steps of a run; counts those that are not finite, and resets the model after them.

    A state that does not show in the results is found within 256 steps.

    Args:
        model: it is reset where its state is not finite.
        counts: `not_finite_steps` counts these steps.
        warn: receives a sentence at the first of them.
    """

    def __init__(self, model: Resettable, counts: InputCounts, warn: Warn | None = None) -> None:
        self._model, self._counts, self._warn = model, counts, warn
        self._outputs, self._steps = model.manifest.outputs, 0
        self._is_external = model.manifest.state == "external"

    def take(self, frames: Any, result: Any) -> None:
        """Takes a step.

        Args:
            frames: its argument.
            result: as from `EdgeModel.step`, or None where there is none.
        """
        self._steps += 1
        is_finite = result is None or are_finite(as_dict(self._outputs, result).values())
        if is_finite and (self._steps % _STEPS_PER_LOOK or not self._is_external):
            return
        was_reset = reset_not_finite(self._model)
        if is_finite and not was_reset:
            return
        self._counts.not_finite_steps += 1
        if self._warn is not None:
            reason = _HIDDEN if is_finite else explain_not_finite(frames)
            self._warn(f"step {self._steps}: {reason}{RECOVERY}")
            self._warn = None
