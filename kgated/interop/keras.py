"""Conversion between Keras's recurrent layers and kgated's."""

import inspect
from typing import Any

import keras

from kgated.argument_checks import check_choice
from kgated.interop import gates
from kgated.layers import GRU


def from_keras(layer: Any, update_gate: str = "state") -> Any:
    """Convert a `keras.layers` LSTM or GRU to kgated's layer, with its options and weights.

    Args:
        layer: a `keras.layers.LSTM`, `GRU`, or `Bidirectional` of them, built or not.
        update_gate: what z multiplies in the GRU returned. "state" is Keras's convention and keeps
            the weights; "candidate" is the textbook's and negates z's weights, which is exact
            because `1 - σ(a) = σ(-a)`.

    Returns:
        `kgated.LSTM`, `kgated.GRU`, or a `keras.layers.Bidirectional` of them.

    Raises:
        TypeError: another kind of layer.
        ValueError: `update_gate="candidate"`, and the recurrent activation lacks that symmetry.
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

    Options that Keras lacks are rewritten where that is exact. Peepholes that are all zero are
    dropped. `coupled_gates` becomes an input gate with the negated weights of the forget gate, and
    `update_gate="candidate"` a z with negated weights, because `1 - σ(a) = σ(-a)`. Further training
    no longer keeps the two gates coupled.

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
