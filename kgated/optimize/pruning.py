"""Magnitude pruning while training: the smallest weights become zero, and stay so.

Equations, for a weight matrix W, its mask M and the schedule's share of zeros s(t) at step t::

    M ← 1 at the max(1, round(size·(1 - s(t)))) entries of largest |W|, else 0   (at some steps)
    W ← M∘(W + ΔW)      ΔW the optimizer's update                                (at each step)

Each matrix by itself. The model stays what it is, with no wrapper to strip: it is saved, loaded
and converted as any other, and the zeros in its weights are all that there is to keep.

Reference: Zhu & Gupta 2017, "To prune, or not to prune: exploring the efficacy of pruning for model
compression"; Mishra et al. 2021, "Accelerating sparse deep neural networks", for 2:4.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kgated.optimize import masks
from kgated.optimize.clustering import SharedValues
from kgated.optimize.schedules import Schedule
from kgated.optimize.weights import matrices, values_of
from kgated.weight_checks import check_finite_weights


def prune(
    model: keras.Model,
    schedule: Schedule,
    *,
    block: masks.Block = (1, 1),
    pattern: str | None = None,
    layers: Sequence[str] | None = None,
) -> "Pruning":
    """Prune a model while it is trained: the callback to give to `fit`.

    Kernels, recurrent kernels and projections of recurrent, Dense and convolution layers, also
    under Bidirectional and in stacks and models inside; no biases, peepholes, gains, embeddings.

    Args:
        model: the model that will be fitted, built.
        schedule: when and how much: `kgated.optimize.PolynomialDecay` or `ConstantSparsity`, those
            of tensorflow-model-optimization, or any function from a step to (bool, share of zeros).
        block: (inputs, outputs); weights go in blocks of this size, by their mean magnitude.
        pattern: "2:4": two zeros in each four consecutive inputs of an output; the schedule is a
            `ConstantSparsity(0.5, ...)`. None: anywhere.
        layers: names of layers to prune, Embedding possibly among them; None: as above.

    Returns:
        The callback, for one or more calls of `fit`.

    Raises:
        ValueError: `model` is not built, is clustered already, has nothing to prune; an unknown
            `pattern` or name in `layers`; a `block` below 1, or with a pattern; a schedule that no
            pattern can take.
        TypeError: `schedule` is not callable.

    Example:
        >>> schedule = kgated.optimize.PolynomialDecay(0.0, 0.75, 0, 1000, frequency=10)
        >>> model.fit(x, y, epochs=20, callbacks=[kgated.prune(model, schedule)])
        >>> kgated.sparsity(model)
        {'lstm': 0.75, 'dense': 0.75}
    """
    if not callable(schedule):
        raise TypeError(
            "`schedule` must be a function from a step to (bool, share), such as "
            f"`PolynomialDecay(...)`. Received: {schedule!r}"
        )
    _check_shape(schedule, block, pattern)
    weights = [w for listed in matrices(model, layers).values() for w in listed]
    if clustered := [w.path for w in weights if isinstance(w.constraint, SharedValues)]:
        raise ValueError(f"`model` must be pruned before it is clustered. Clustered: {clustered}")
    check_finite_weights(model)
    return Pruning(weights, schedule, (block[0], block[1]), pattern)


class Pruning(keras.callbacks.Callback):
    """Keeps weights at zero after each optimizer step, and chooses them when its schedule says.

    Steps count as the optimizer's do, from 0 before the first; a training that is resumed goes on
    with the zeros that it finds. Made by `prune`.
    """

    def __init__(
        self, weights: Sequence[Any], schedule: Schedule, block: masks.Block, pattern: str | None
    ) -> None:
        super().__init__()
        self.weights, self.schedule = list(weights), schedule
        self.block, self.pattern = block, pattern
        self.step = 0
        self._masks: list[Any] = []

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Prune before the first step, where the schedule begins with it."""
        if self.model.steps_per_execution != 1:
            raise ValueError(
                "`steps_per_execution` must be 1 while pruning: weights return to zero after each "
                f"step. Received: {self.model.steps_per_execution}. Compile the model with 1"
            )
        model_weights = {id(w) for w in self.model.weights}
        if not all(id(w) in model_weights for w in self.weights):
            raise ValueError("`model` of `kgated.prune` must be the model that is fitted: it isn't")
        self.step = int(self.model.optimizer.iterations)
        if not self._masks:
            values = [values_of(w) for w in self.weights]
            self._masks = [ops.convert_to_tensor((v != 0) | (self.step == 0)) for v in values]
        self._prune()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Zero again what the optimizer's step moved."""
        self.step += 1
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()  # in `fit`, the weights are elsewhere between two epochs
        self._prune()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Zero again what an optimizer with a moving average puts in place at the end."""
        self._apply()

    def _prune(self) -> None:
        due, sparsity = self.schedule(self.step)
        if bool(due):
            self._masks = [
                ops.convert_to_tensor(self._mask(values_of(w), float(sparsity)))
                for w in self.weights
            ]
        self._apply()

    def _mask(self, weight: np.ndarray, sparsity: float) -> np.ndarray:
        if self.pattern is not None:
            return masks.two_in_four(weight)
        if self.block == (1, 1):
            return masks.largest(np.abs(weight), sparsity)
        return masks.largest_blocks(weight, sparsity, self.block)

    def _apply(self) -> None:
        for weight, mask in zip(self.weights, self._masks, strict=True):
            # A product would leave -0.0 behind, which compresses as badly as any number.
            values = ops.convert_to_tensor(weight)
            weight.assign(ops.where(mask, values, ops.zeros_like(values)))


def _check_shape(schedule: Schedule, block: masks.Block, pattern: str | None) -> None:
    is_pair = isinstance(block, Sequence) and len(block) == 2
    if not is_pair or not all(isinstance(n, int) and n >= 1 for n in block):
        raise ValueError(f"`block` must be two integers of at least 1. Received: {block!r}")
    if pattern not in (None, "2:4"):
        raise ValueError(f"`pattern` must be '2:4' or None. Received: {pattern!r}")
    if pattern is None:
        return
    if tuple(block) != (1, 1):
        raise ValueError(f"`block` must be (1, 1) with a `pattern`. Received: {block!r}")
    if getattr(schedule, "target_sparsity", None) != 0.5:
        raise ValueError(
            f"`schedule` must be `ConstantSparsity(0.5, ...)` with `pattern={pattern!r}`, which "
            f"has half of the weights at zero. Received: {schedule!r}"
        )
