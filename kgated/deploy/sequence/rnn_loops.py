"""The steps of a recurrent layer as TensorFlow operations that the TFLite converter takes.

Two forms. "unrolled" has every step in the graph: nothing is copied, but the kernels pack the
weights of each step once more, so the weights of long sequences no longer fit the caches. "while"
is a loop with a few steps per iteration, which share the cost of an iteration. A loop copies its
variables at each iteration; with one buffer for all outputs the time would grow with the square of
the length. So there is one loop per chunk of time, each with a small buffer, and
`deduplicate_subgraphs` lets all loops run one body.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

from kgated.cells.stepwise import RowStep
from kgated.keras_internals.tensorflow_private import dynamic_update_slice
from kgated.steps import Array

STEPS_PER_ITERATION = 4
CHUNK = 32


@dataclass(frozen=True)
class Run:
    """The sequence and the states that a recurrent layer runs over.

    Attributes:
        frames: arrays (T·B, ...), a row per frame, the B frames of one time next to each other.
        rows_and_step: from frames to all that does not depend on the states, in as many rows, and
            the step, which takes the B rows (B, ...) of one time, and the states.
        states: before the first step, (B, ...) each.
        output_shape: (B, ...) of one output.
        return_sequences: whether every output is wanted, or the last one.
        backwards: whether the last frame comes first.
        time_order: whether the outputs are returned in the order of the frames, else in the order
            of the steps.
        scope: the name scope of a loop's body, which does not inherit the one around it.
    """

    frames: list[Array]
    rows_and_step: Callable[[list[Array]], tuple[list[Array], RowStep]]
    states: list[Array]
    output_shape: tuple[int, ...]
    return_sequences: bool
    backwards: bool
    time_order: bool
    scope: str

    @property
    def batch(self) -> int:
        """B."""
        return self.output_shape[0]

    @property
    def length(self) -> int:
        """T."""
        return int(self.frames[0].shape[0]) // self.batch

    def frames_between(self, start: int, stop: int) -> list[Array]:
        """The frames from one time to another."""
        return [x[start * self.batch : stop * self.batch] for x in self.frames]


def unrolled(run: Run) -> tuple[Array, list[Array]]:
    """Every step in the graph: the outputs (T·B, ...), or the last (B, ...), and the states."""
    rows, step = run.rows_and_step(run.frames)
    per_time = _rows_per_time(rows, run.batch)
    outputs, states = _steps(step, per_time[:: -1 if run.backwards else 1], run.states)
    if not run.return_sequences:
        return outputs[-1], states
    return _concatenated(outputs[:: -1 if run.backwards and run.time_order else 1]), states


def loop(run: Run) -> tuple[Array, list[Array]]:
    """A WHILE per chunk of time; returns as `unrolled`."""
    if run.backwards:
        return _backwards(run)
    size = CHUNK if run.return_sequences else run.length - run.length % STEPS_PER_ITERATION
    outputs, states, start = [], run.states, 0
    while start < run.length:
        stop = min(start + max(size, 1), run.length)
        is_loop = stop - start >= STEPS_PER_ITERATION
        stop -= (stop - start) % STEPS_PER_ITERATION if is_loop else 0
        part = replace(run, frames=run.frames_between(start, stop), states=states)
        output, states = (_one_loop if is_loop else unrolled)(part)
        outputs.append(output)
        start = stop
    return (_concatenated(outputs) if run.return_sequences else outputs[-1]), states


def _backwards(run: Run) -> tuple[Array, list[Array]]:
    frames = [_reversed(x, run.batch) for x in run.frames]
    output, states = loop(replace(run, frames=frames, backwards=False))
    back = run.return_sequences and run.time_order
    return (_reversed(output, run.batch) if back else output), states


def _reversed(x: Array, batch: int) -> Array:
    """Rows (T·B, ...) with the last time first; by GATHER, which takes integers too."""
    rows = np.arange(int(x.shape[0]), dtype=np.int32).reshape(-1, batch)
    return tf.gather(x, rows[::-1].reshape(-1))


def _one_loop(run: Run) -> tuple[Array, list[Array]]:
    """One WHILE over all of the rows, whose number is a multiple of STEPS_PER_ITERATION."""
    iterations, rows_each = run.length // STEPS_PER_ITERATION, STEPS_PER_ITERATION * run.batch
    # GATHER has a static shape, SLICE at a computed place has none; a block is one iteration's.
    blocks = [tf.reshape(x, (iterations, rows_each, *x.shape[1:])) for x in run.frames]
    places = [0] * len(run.output_shape)

    def iteration(i: Array, last: Array, *variables: Array) -> tuple[Array, ...]:
        states, blocks = list(variables[: len(run.states)]), variables[len(run.states) :]
        with tf.name_scope(f"{run.scope}/"):
            # A few rows of products at a time: those of all frames would not stay in the cache.
            rows, step = run.rows_and_step([tf.gather(block, i) for block in blocks])
            outputs, states = _steps(step, _rows_per_time(rows, run.batch), states)
            if run.return_sequences:
                row = _concatenated(outputs)[None]
                last = dynamic_update_slice(last, row, tf.stack([i, *places]))
            else:
                last = outputs[-1]
            return (i + 1, last, *states, *blocks)

    per_iteration = (rows_each, *run.output_shape[1:])
    shape = (iterations, *per_iteration) if run.return_sequences else run.output_shape
    start = (tf.constant(0), tf.zeros(shape), *run.states, *blocks)
    _, output, *variables = tf.while_loop(lambda i, *_: i < iterations, iteration, start)
    if run.return_sequences:
        output = tf.reshape(output, (iterations * rows_each, *run.output_shape[1:]))
    return output, variables[: len(run.states)]


def _rows_per_time(rows: list[Array], batch: int) -> list[list[Array]]:
    """The rows (B, ...) of each array, for each time step."""
    starts = range(0, int(rows[0].shape[0]), batch)
    return [[x[start : start + batch] for x in rows] for start in starts]


def _steps(
    step: RowStep, rows_per_time: list[list[Array]], states: list[Array]
) -> tuple[list[Array], list[Array]]:
    outputs = []
    for rows in rows_per_time:
        output, states = step(rows, states)
        outputs.append(output)
    return outputs, states


def _concatenated(outputs: list[Array]) -> Array:
    return outputs[0] if len(outputs) == 1 else tf.concat(outputs, 0)


LOWERINGS = {"unrolled": unrolled, "while": loop}
