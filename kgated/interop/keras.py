"""Keras's own layers to ours and back."""

import inspect
from typing import Any

import keras

from kgated.argument_checks import check_choice
from kgated.interop import gates
from kgated.layers import GRU


def from_keras(layer: Any, update_gate: str = "state") -> Any:
    """Our layer with the options and a copy of the weights of a `keras.layers` LSTM or GRU.

    Args:
        layer: a `keras.layers.LSTM`, `GRU`, or `Bidirectional` of them, built or not.
        update_gate: the convention of the GRU returned. "state" is Keras's and takes the weights
            untouched; "candidate" is the textbook's, exact by `1 - σ(a) = σ(-a)`: the signs of z's
            weights change.

    Returns:
        `kgated.LSTM`, `kgated.GRU`, or a `keras.layers.Bidirectional` of them.

    Raises:
        TypeError: another kind of layer.
        ValueError: `update_gate="candidate"` with an activation that has no such symmetry.
    """
    check_choice("update_gate", update_gate, ("state", "candidate"))
    if isinstance(layer, keras.layers.Bidirectional):
        pair = [
            from_keras(direction, update_gate)
            for direction in (layer.forward_layer, layer.backward_layer)
        ]
        return gates.join_directions(pair, merge_mode=layer.merge_mode, name=layer.name)
    return gates.with_update_gate(gates.to_gated(layer), update_gate)


def to_keras(layer: Any) -> Any:
    """Keras's own layer that computes the same, with a copy of the weights.

    Exact rewritings are done: peepholes that are all zero vanish; `coupled_gates` becomes an input
    gate with the forget gate's weights negated, and `update_gate="candidate"` a z with its weights
    negated, as `1 - σ(a) = σ(-a)`. Further training no longer keeps the two gates coupled.

    Args:
        layer: a built `kgated.LSTM`, `PeepholeLSTM`, `GRU`, or a `Bidirectional` of them.

    Returns:
        `keras.layers.LSTM`, `keras.layers.GRU`, or a `keras.layers.Bidirectional` of them.

    Raises:
        TypeError: another kind of layer.
        ValueError: an option that Keras's layer doesn't have, by name, or a layer without weights.
    """
    if isinstance(layer, keras.layers.Bidirectional):
        pair = [to_keras(direction) for direction in (layer.forward_layer, layer.backward_layer)]
        return gates.join_directions(pair, merge_mode=layer.merge_mode, name=layer.name)
    layer = gates.to_gated(layer)
    if isinstance(layer, GRU):
        weights = gates.state_weighing_gru(layer, "keras.layers.GRU")
        return _copy(layer, keras.layers.GRU, weights)
    target = "keras.layers.LSTM"
    gates.require(layer, target, projection_units=None)
    weights = gates.without_peepholes(layer, gates.plain_lstm(layer, target), target)
    return _copy(layer, keras.layers.LSTM, weights)


def _copy(layer: Any, target: type[keras.layers.RNN], weights: gates.Weights) -> Any:
    known = {*inspect.signature(target).parameters, "name", "dtype", "trainable"}
    known.add("zero_output_for_mask")
    keras_layer = target.from_config({k: v for k, v in layer.get_config().items() if k in known})
    gates.write(keras_layer, weights)
    return keras_layer
