"""A recurrent layer's run over time, as TensorFlow ops that the TFLite converter takes.

Two forms. "unrolled" writes every step into the graph: nothing is copied, but each step's weights
are packed once more by the kernels, so long sequences fall out of the cache. "while" is a loop
whose body holds a few steps, so that the loop's own cost is shared. A loop copies what it carries
at each turn; a buffer for all outputs would make long sequences quadratic, so there is one loop per
stretch of time, each with a small buffer, and `share_subgraphs` lets them have one body.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import tensorflow as tf
from tensorflow.compiler.tf2xla.python import xla

from kgated.deploy.cellstep import RowStep
from kgated.steps import Array

STEPS_PER_TURN = 4
STRETCH = 32


@dataclass(frozen=True)
class Run:
    """What a layer runs over.

    Attributes:
        frames: arrays (T, ...), a row per frame.
        begin: from frames to what does not depend on the states, in rows of the same number, and
            the step, which takes one row (1, ...) of each, and the states.
        states: at the start, (1, ...) each.
        width: U, the size of the output.
        each: whether every output is wanted, or the last alone.
        backwards: whether the last frame comes first.
        in_time: whether the outputs are returned in the order of the frames, else in the run's.
        scope: the name scope of a loop's body, which does not know the one around it.
    """

    frames: list[Array]
    begin: Callable[[list[Array]], tuple[list[Array], RowStep]]
    states: list[Array]
    width: int
    each: bool
    backwards: bool
    in_time: bool
    scope: str

    @property
    def length(self) -> int:
        """T."""
        return int(self.frames[0].shape[0])


def unrolled(run: Run) -> tuple[Array, list[Array]]:
    """Every step in the graph; returns the outputs (T, U), or the last (1, U), and the states."""
    rows, step = run.begin(run.frames)
    each = _each(rows)
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
        frames = [x[start:stop] for x in run.frames]
        part = replace(run, frames=frames, states=states)
        output, states = (_turns if stop - start >= STEPS_PER_TURN else unrolled)(part)
        outputs.append(output)
        start = stop
    return (_joined(outputs) if run.each else outputs[-1]), states


def _reversed(run: Run) -> tuple[Array, list[Array]]:
    frames = [tf.reverse(x, [0]) for x in run.frames]
    output, states = loop(replace(run, frames=frames, backwards=False))
    return (tf.reverse(output, [0]) if run.each and run.in_time else output), states


def _turns(run: Run) -> tuple[Array, list[Array]]:
    """One WHILE over all of the rows, whose number is a multiple of STEPS_PER_TURN."""
    turns = run.length // STEPS_PER_TURN
    # GATHER has a static shape where SLICE at a computed place has none; one turn's frames are one.
    blocks = [tf.reshape(x, (turns, STEPS_PER_TURN, *x.shape[1:])) for x in run.frames]

    def turn(i: Array, last: Array, *carried: Array) -> tuple[Array, ...]:
        states, kept = list(carried[: len(run.states)]), carried[len(run.states) :]
        with tf.name_scope(f"{run.scope}/"):
            # A few rows of products at a time: those of all frames would not stay in the cache.
            rows, step = run.begin([tf.gather(block, i) for block in kept])
            outputs, states = _steps(step, _each(rows), states)
            if run.each:
                last = xla.dynamic_update_slice(last, _joined(outputs)[None], tf.stack([i, 0, 0]))
            else:
                last = outputs[-1]
            return (i + 1, last, *states, *kept)

    shape = (turns, STEPS_PER_TURN, run.width) if run.each else (1, run.width)
    start = (tf.constant(0), tf.zeros(shape), *run.states, *blocks)
    _, output, *carried = tf.while_loop(lambda i, *_: i < turns, turn, start)
    if run.each:
        output = tf.reshape(output, (run.length, run.width))
    return output, carried[: len(run.states)]


def _each(rows: list[Array]) -> list[list[Array]]:
    """For each frame its row (1, ...) of each array."""
    return [[r[t : t + 1] for r in rows] for t in range(int(rows[0].shape[0]))]


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
