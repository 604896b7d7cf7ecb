"""The norm of the loss's gradient at each time step."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from kgated.inspection import probes
from kgated.inspection.tracing import unique_name
from kgated.steps import Array

Perturbations = list[Array]


def gradient_flow(
    model: Any, x: Any, y: Any, loss: str | Callable[..., Any] | None = None
) -> dict[str, dict[str, np.ndarray]]:
    """The norm of the loss's gradient with respect to each step's hidden and cell state.

    The derivative is the total one: through the layer's output at that step and through all later
    steps, and for the cell state through the hidden state of the same step too. In a recurrent
    network with vanishing gradients the norm falls geometrically towards the first step
    (Hochreiter 1991; Bengio, Simard & Frasconi 1994).

    Args:
        model: a model that contains recurrent layers of kgated or Keras.
        x: the model's input, N sequences. They are one batch, without dropout.
        y: the targets.
        loss: a Keras loss or its name. None: the loss that the model was compiled with.

    Returns:
        Layer's name to `"h"` and, for an LSTM, `"c"`, to norms (T,): the square root of the sum of
        squares over the batch and the units. The time order is that of the layer's input. A layer
        called more than once has `name`, `name#2`, … as in `gate_activations`. A norm below about
        1e-35 is an underflow of float32.

    Raises:
        ValueError: there is no recurrent layer or no loss, or the Keras backend has no gradients.
        TypeError: a recurrent layer has a cell other than LSTM, GRU and SimpleRNN.
    """
    if (backend := keras.backend.backend()) not in GRADIENTS:
        raise ValueError(
            f"`gradient_flow` needs a Keras backend of {list(GRADIENTS)}. Received: {backend!r}"
        )
    layers = probes.recurrent_layers(model)
    names, zeros = _zeros(model, layers, x)

    def loss_of(perturbations: Perturbations) -> Array:
        left = list(perturbations)
        with probes.loops({layer: _perturbing(layer, left) for layer in layers}):
            return _loss(model, x, y, loss)

    flows: dict[str, dict[str, np.ndarray]] = {}
    gradients = GRADIENTS[backend](loss_of, zeros)
    for (layer, state), gradient in zip(names, gradients, strict=True):
        squares = np.square(keras.ops.convert_to_numpy(gradient).astype(np.float64))
        flows.setdefault(layer, {})[state] = np.sqrt(squares.sum(axis=(0, 2)))
    return flows


def _loss(model: Any, x: Any, y: Any, loss: Any) -> Array:
    outputs = model(x, training=False)
    if loss is not None:
        return ops.mean(keras.losses.get(loss)(y, outputs))
    if not getattr(model, "compiled", False):
        raise ValueError("`loss` must be given where `model` is not compiled with one")
    return model.compute_loss(x=x, y=y, y_pred=outputs, training=False)


def _zeros(
    model: Any, layers: list[keras.layers.RNN], x: Any
) -> tuple[list[tuple[str, str]], Perturbations]:
    """(layer's name, state's name) and zeros (N, T, U) for each state of each call of a layer."""
    names: list[tuple[str, str]] = []
    zeros: Perturbations = []

    def measuring(layer: keras.layers.RNN) -> probes.Loop:
        inner_loop = layer.inner_loop

        def loop(sequences: Array, states: Any, mask: Any) -> Any:
            name = unique_name(layer.name, {layer for layer, _ in names})
            for state, size in probes.PerturbedCell(layer.cell).widths.items():
                names.append((name, state))
                zeros.append(ops.zeros((*sequences.shape[:2], size), sequences.dtype))
            return inner_loop(sequences=sequences, initial_state=states, mask=mask)

        return loop

    with probes.loops({layer: measuring(layer) for layer in layers}):
        model(x, training=False)
    return names, zeros


def _perturbing(layer: keras.layers.RNN, left: Perturbations) -> probes.Loop:
    """The layer's loop with a perturbed cell, which pops its perturbations from `left`."""
    probe = probes.PerturbedCell(layer.cell)

    def loop(x: Array, states: Any, mask: Any) -> Any:
        perturbations = [left.pop(0) for _ in probe.widths]
        outputs, states = probes.run(
            layer, probe, ops.concatenate([x, *perturbations], -1), states, mask
        )
        return outputs[:, -1], outputs, states

    return loop


def _tensorflow(
    loss_of: Callable[[Perturbations], Array], perturbations: Perturbations
) -> Perturbations:
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(perturbations)
        loss = loss_of(perturbations)
    return list(tape.gradient(loss, perturbations, unconnected_gradients="zero"))


def _jax(loss_of: Callable[[Perturbations], Array], perturbations: Perturbations) -> Perturbations:
    import jax

    return list(jax.grad(loss_of)(perturbations))


def _torch(
    loss_of: Callable[[Perturbations], Array], perturbations: Perturbations
) -> Perturbations:
    import torch

    leaves = [perturbation.requires_grad_() for perturbation in perturbations]
    gradients = torch.autograd.grad(loss_of(leaves), leaves, allow_unused=True)
    return [
        perturbation if gradient is None else gradient
        for perturbation, gradient in zip(perturbations, gradients, strict=True)
    ]


GRADIENTS: dict[str, Callable[[Callable[[Perturbations], Array], Perturbations], Perturbations]] = {
    "tensorflow": _tensorflow,
    "jax": _jax,
    "torch": _torch,
}
