"""Magnitude pruning during training: the smallest weights become zero and stay zero.

Equations, for a weight matrix W, its mask M and the schedule's sparsity s(t) at step t::

    M ← 1 at the max(1, round(size·(1 - s(t)))) entries of largest |W|, else 0   (at some steps)
    W ← M∘(W + ΔW)      ΔW the optimizer's update                                (at each step)

Each matrix is pruned separately. The model gets no wrappers: it is saved, loaded and converted like
any other model, and the zeros in its weights are the only trace of the pruning.

Reference: Zhu & Gupta 2017, "To prune, or not to prune: exploring the efficacy of pruning for model
compression"; Mishra et al. 2021, "Accelerating sparse deep neural networks", for 2:4.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kgated.finite_weights import check_finite_weights
from kgated.optimize import masks
from kgated.optimize.clustering import SharedValues
from kgated.optimize.schedules import Schedule
from kgated.optimize.weights import matrices, values_of


def prune(
    model: keras.Model,
    schedule: Schedule,
    *,
    block: masks.Block = (1, 1),
    pattern: str | None = None,
    layers: Sequence[str] | None = None,
) -> "Pruning":
    """Return a callback for `fit` that prunes the model during training.

    It prunes the kernels, recurrent kernels and projections of recurrent, Dense and convolution
    layers, also inside Bidirectional, stacked cells and nested models. It does not prune biases,
    peepholes, gains and embeddings.

    Args:
        model: the built model that will be fitted.
        schedule: when to prune and how much: `kgated.optimize.PolynomialDecay` or
            `ConstantSparsity`, those of tensorflow-model-optimization, or any function from a step
            to (bool, sparsity).
        block: (inputs, outputs), the size of blocks that are pruned together, chosen by their mean
            magnitude.
        pattern: "2:4": two zeros in each four consecutive inputs of an output; the schedule must
            be a `ConstantSparsity(0.5, ...)`. None: no pattern.
        layers: names of layers to prune, including Embedding layers. None: as above.

    Returns:
        The callback, for one or more calls of `fit`.

    Raises:
        ValueError: `model` is not built, is clustered, or has nothing to prune; `pattern` or a name
            in `layers` is unknown; `block` is below 1 or combined with a pattern; the schedule
            does not fit the pattern.
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
        raise ValueError(
            f"`model` must be pruned before it is clustered. Clustered weights: {clustered}"
        )
    check_finite_weights(model)
    return Pruning(weights, schedule, (block[0], block[1]), pattern)


class Pruning(keras.callbacks.Callback):
    """Callback that chooses the pruned weights on schedule and zeroes them after each step.

    Steps are counted as by the optimizer, from 0 before the first step. A resumed training keeps
    the zeros in the weights. `prune` creates this callback.
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
        """Prune before the first step if the schedule starts at step 0."""
        if self.model.steps_per_execution != 1:
            raise ValueError(
                "`steps_per_execution` must be 1 while pruning: weights return to zero after each "
                f"step. Received: {self.model.steps_per_execution}. Compile the model with 1"
            )
        model_weights = {id(w) for w in self.model.weights}
        if not all(id(w) in model_weights for w in self.weights):
            raise ValueError(
                "`model` of `kgated.prune` must be the model that is fitted. Received another model"
            )
        self.step = int(self.model.optimizer.iterations)
        if not self._masks:
            values = [values_of(w) for w in self.weights]
            self._masks = [ops.convert_to_tensor((v != 0) | (self.step == 0)) for v in values]
        self._prune()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Zero the pruned weights that the optimizer's step changed."""
        self.step += 1
        if keras.backend.backend() == "jax":
            # In `fit` on JAX, the variables don't hold the weights between two epochs.
            self.model.jax_state_sync()
        self._prune()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Zero the pruned weights that an optimizer's moving average overwrites at the end."""
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
            # A product would produce -0.0, which does not compress as zeros do.
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
