"""The dynamics of a trained model: how far back its gradient reaches, and how its gates act."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from kgated_edge.evaluation.dataset import SequenceData

from kgated.data import take
from kgated.inspection import gate_activations, gradient_flow
from kgated.study.tasks.definitions import Task

REACH = 0.01  # of the gradient's norm at the last frame
MAX_SEQUENCES = 64
CLOSED, OPEN = 0.1, 0.9
NOT_GATES = ("g", "h", "c")


@dataclass(frozen=True)
class Gate:
    """The activity of a gate of the first recurrent layer, over its units and all frames.

    Attributes:
        name: of the gate, as in the equations: i, f, o, z, r.
        mean: of its values, 0..1.
        closed: fraction of values below 0.1.
        open: fraction of values above 0.9.
    """

    name: str
    mean: float
    closed: float
    open: float


def gradient_reach(model: keras.Model, task: Task, data: SequenceData) -> tuple[float, ...] | None:
    """The norm of the loss's gradient at each frame, as a fraction of that at the last one.

    The gradient is that of the loss of the last result with respect to the states of the first
    recurrent layer, h or c, whichever reaches farther. The sequences are those of at least the
    median length, cut to it, so that all end at the same frame.

    Returns:
        (T,) norms, the last of them 1; None for a cell that `gradient_flow` does not know.
    """
    x, y = _same_length(task, data)

    def loss(targets: Any, outputs: Any) -> Any:
        last = outputs[:, -1] if task.per_frame else outputs
        return task.loss(targets, last)

    try:
        flows = gradient_flow(model, x, y, loss)
    except TypeError:
        return None
    first = next(iter(flows.values()))
    norms = max(first.values(), key=steps_above)
    return tuple((norms / max(float(norms[-1]), 1e-300)).tolist())


def _same_length(task: Task, data: SequenceData) -> tuple[np.ndarray, np.ndarray]:
    """Sequences (n, T, ...) of one length, and the targets of their last frames."""
    frames = int(np.median(data.lengths))
    data = take(data, np.flatnonzero(data.lengths >= frames)[:MAX_SEQUENCES])
    targets, _ = task.targets(data)
    if not task.per_frame:
        last = targets
    else:
        frames = max(frames - int(task.predicts_next), 1)
        last = targets[:, frames - 1]
    if task.is_regression:
        last = last.reshape(len(last), -1)
    return np.asarray(data.x)[:, :frames], last


def steps_above(norms: Any) -> int:
    """The number of steps back, without a gap, whose norms (T,) are above 1% of the last norm."""
    values = np.asarray(norms)
    below = np.flatnonzero(values[::-1] < REACH * values[-1])
    return int(below[0]) - 1 if len(below) else len(values) - 1


def gate_activity(model: keras.Model, task: Task, data: SequenceData) -> tuple[Gate, ...]:
    """Statistics of the gates of the first recurrent layer; empty for a plain RNN."""
    x, _ = _same_length(task, data)
    traces = gate_activations(model, x)
    first = next(iter(traces.values()))
    return tuple(_gate(name, first[name]) for name in first if name not in NOT_GATES)


def _gate(name: str, values: np.ndarray) -> Gate:
    known = values[np.isfinite(values)]
    closed, is_open = float((known < CLOSED).mean()), float((known > OPEN).mean())
    return Gate(name, float(known.mean()), closed, is_open)
