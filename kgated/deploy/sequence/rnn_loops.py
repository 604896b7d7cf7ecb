"""A recurrent layer's run over time, as TensorFlow ops that the TFLite converter takes.

Two forms. "unrolled" writes every step into the graph: nothing is copied, but each step's weights
are packed once more by the kernels, so long sequences fall out of the cache. "while" is a loop
whose body holds a few steps, so that the loop's own cost is shared. A loop copies what it carries
at each turn; a buffer for all outputs would make long sequences quadratic, so there is one loop per
stretch of time, each with a small buffer, and `deduplicate_subgraphs` lets them have one body.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

from kgated.cells.stepwise import RowStep
from kgated.steps import Array
from kgated.tensorflow_private import dynamic_update_slice

STEPS_PER_TURN = 4
STRETCH = 32


@dataclass(frozen=True)
class Run:
    """What a layer runs over.

    Attributes:
        frames: arrays (T·B, ...), a row per frame, the B frames of one time side by side.
        begin: from frames to what does not depend on the states, in rows of the same number, and
            the step, which takes the B rows (B, ...) of one time, and the states.
        states: at the start, (B, ...) each.
        batch: B.
        width: U, the size of the output.
        each: whether every output is wanted, or the last alone.
        backwards: whether the last frame comes first.
        in_time: whether the outputs are returned in the order of the frames, else in the run's.
        scope: the name scope of a loop's body, which does not know the one around it.
    """

    frames: list[Array]
    begin: Callable[[list[Array]], tuple[list[Array], RowStep]]
    states: list[Array]
    batch: int
    width: int
    each: bool
    backwards: bool
    in_time: bool
    scope: str

    @property
    def length(self) -> int:
        """T."""
        return int(self.frames[0].shape[0]) // self.batch

    def at(self, start: int, stop: int) -> list[Array]:
        """The frames from one time to another."""
        return [x[start * self.batch : stop * self.batch] for x in self.frames]


def unrolled(run: Run) -> tuple[Array, list[Array]]:
    """Every step in the graph: the outputs (T·B, U), or the last (B, U), and the states."""
    rows, step = run.begin(run.frames)
    each = _each(rows, run.batch)
    outputs, states = _steps(step, each[:: -1 if run.backwards else 1], run.states)
    if not run.each:
        return outputs[-1], states
    return _joined(outputs[:: -1 if run.backwards and run.in_time else 1]), states


def loop(run: Run) -> tuple[Array, list[Array]]:
    """A WHILE per stretch of time; returns as `unrolled`."""
    if run.backwards:
        return _reversed(run)
    size = STRETCH if run.each else run.length - run.length % STEPS_PER_TURN
    outputs, states, start = [], run.states, 0
    while start < run.length:
        stop = min(start + max(size, 1), run.length)
        stop -= (stop - start) % STEPS_PER_TURN if stop - start >= STEPS_PER_TURN else 0
        part = replace(run, frames=run.at(start, stop), states=states)
        output, states = (_turns if stop - start >= STEPS_PER_TURN else unrolled)(part)
        outputs.append(output)
        start = stop
    return (_joined(outputs) if run.each else outputs[-1]), states


def _reversed(run: Run) -> tuple[Array, list[Array]]:
    frames = [_turned(x, run.batch) for x in run.frames]
    output, states = loop(replace(run, frames=frames, backwards=False))
    return (_turned(output, run.batch) if run.each and run.in_time else output), states


def _turned(x: Array, batch: int) -> Array:
    """Rows (T·B, ...) with the last time first; by GATHER, which takes integers too."""
    rows = np.arange(int(x.shape[0]), dtype=np.int32).reshape(-1, batch)
    return tf.gather(x, rows[::-1].reshape(-1))


def _turns(run: Run) -> tuple[Array, list[Array]]:
    """One WHILE over all of the rows, whose number is a multiple of STEPS_PER_TURN."""
    turns, per_turn = run.length // STEPS_PER_TURN, STEPS_PER_TURN * run.batch
    # GATHER has a static shape where SLICE at a computed place has none; one turn's frames are one.
    blocks = [tf.reshape(x, (turns, per_turn, *x.shape[1:])) for x in run.frames]

    def turn(i: Array, last: Array, *carried: Array) -> tuple[Array, ...]:
        states, kept = list(carried[: len(run.states)]), carried[len(run.states) :]
        with tf.name_scope(f"{run.scope}/"):
            # A few rows of products at a time: those of all frames would not stay in the cache.
            rows, step = run.begin([tf.gather(block, i) for block in kept])
            outputs, states = _steps(step, _each(rows, run.batch), states)
            if run.each:
                last = dynamic_update_slice(last, _joined(outputs)[None], tf.stack([i, 0, 0]))
            else:
                last = outputs[-1]
            return (i + 1, last, *states, *kept)

    shape = (turns, per_turn, run.width) if run.each else (run.batch, run.width)
    start = (tf.constant(0), tf.zeros(shape), *run.states, *blocks)
    _, output, *carried = tf.while_loop(lambda i, *_: i < turns, turn, start)
    if run.each:
        output = tf.reshape(output, (turns * per_turn, run.width))
    return output, carried[: len(run.states)]


def _each(rows: list[Array], batch: int) -> list[list[Array]]:
    """For each time its rows (B, ...) of each array."""
    starts = range(0, int(rows[0].shape[0]), batch)
    return [[r[start : start + batch] for r in rows] for start in starts]


def _steps(
    step: RowStep, frames: list[list[Array]], states: list[Array]
) -> tuple[list[Array], list[Array]]:
    outputs = []
    for rows in frames:
        output, states = step(rows, states)
        outputs.append(output)
    return outputs, states


def _joined(outputs: list[Array]) -> Array:
    return outputs[0] if len(outputs) == 1 else tf.concat(outputs, 0)


LOWERINGS = {"unrolled": unrolled, "while": loop}
