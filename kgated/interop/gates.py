"""Functions of all converters: arrays by name, gate order, building a layer, checks.

A layer's weights are passed as a dict from kgated's weight names to NumPy arrays. Gates are ordered
along the last axis: LSTM `ifco` (coupled: `fco`), GRU `zrh`. Each converter rearranges that dict.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kgated.layers import GRU, LSTM, GatedRNN, PeepholeLSTM

Array = np.ndarray
Weights = dict[str, Array]

SYMMETRIC = ("sigmoid", "hard_sigmoid")
"""The activations with `1 - σ(a) = σ(-a)`, by which a gate and its complement can be exchanged."""


def array(value: Any) -> Array:
    """A NumPy array of an array or a tensor of any library; bfloat16 becomes float32."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if "bfloat16" in str(value.dtype) else value
    return np.asarray(value)


def check_shape(
    name: str, value: Array, expected: tuple[int, ...], meaning: str, where: str = ""
) -> None:
    """Raise a ValueError with the tensor's name and both shapes if the shapes differ."""
    if value.shape != expected:
        raise ValueError(
            f"`{name}`{where} must have shape {expected}, {meaning}. Received: {value.shape}"
        )


def reorder(columns: Array, order: str, wanted: str) -> Array:
    """Reorder the blocks of the last axis from one gate order to another, one letter per gate."""
    blocks = dict(zip(order, np.split(columns, len(order), axis=-1), strict=True))
    return np.concatenate([blocks[gate] for gate in wanted], axis=-1)


def negate(columns: Array, order: str, gate: str) -> Array:
    """Change the sign of one gate's block of the last axis."""
    blocks = zip(order, np.split(columns, len(order), axis=-1), strict=True)
    return np.concatenate([-block if name == gate else block for name, block in blocks], axis=-1)


def read(layer: GatedRNN) -> Weights:
    """The layer's weights by name.

    Raises:
        ValueError: the layer is not built.
    """
    if not layer.built:
        raise ValueError(
            f"`layer` {layer.name!r} has no weights yet; call it once, or `layer.build(shape)`"
        )
    return {w.name: keras.ops.convert_to_numpy(w) for w in layer.cell.weights}


def write(layer: keras.layers.RNN, weights: Mapping[str, Array]) -> None:
    """Build the layer for these weights and copy them in."""
    layer.build((None, None, weights["kernel"].shape[0]))
    for variable in layer.cell.weights:
        variable.assign(weights[variable.name])


def make(layer_class: type[GatedRNN], units: int, weights: Weights, **options: Any) -> Any:
    """A kgated layer with these weights, in their dtype unless `options` set another."""
    defaults = {"use_bias": "bias" in weights, "dtype": weights["kernel"].dtype.name}
    layer = layer_class(units=units, **{**defaults, **options})
    write(layer, weights)
    return layer


def join_directions(layers: Sequence[Any], **options: Any) -> Any:
    """The layer, or a `keras.layers.Bidirectional` with copies of a forward and a backward one."""
    if len(layers) == 1:
        return layers[0]
    forward, backward = layers
    bidirectional = keras.layers.Bidirectional(forward, backward_layer=backward, **options)
    if forward.built:
        bidirectional.build((None, None, forward.cell.kernel.shape[0]))
        bidirectional.forward_layer.set_weights(forward.get_weights())
        bidirectional.backward_layer.set_weights(backward.get_weights())
    return bidirectional


def to_gated(layer: Any) -> Any:
    """The layer if it is one of kgated's, or a copy in kgated's class if it is Keras's.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(layer, keras.layers.LSTM):
        return LSTM.from_keras(layer)
    if isinstance(layer, keras.layers.GRU):
        return GRU.from_keras(layer)
    if not isinstance(layer, LSTM | PeepholeLSTM | GRU):
        raise TypeError(
            "`layer` must be an LSTM, PeepholeLSTM or GRU of kgated or Keras, or a Bidirectional "
            f"of one; convert the layers of a model one by one. Received: {layer!r}"
        )
    return layer


def directions(layer: Any, target: str) -> list[Any]:
    """The layer, or the forward and the backward layer of a Bidirectional, as kgated's classes."""
    if not isinstance(layer, keras.layers.Bidirectional):
        return [to_gated(layer)]
    require(layer, target, merge_mode="concat")
    pair = [to_gated(layer.forward_layer), to_gated(layer.backward_layer)]
    for backwards, direction in zip((False, True), pair, strict=True):
        require(direction, target, go_backwards=backwards)
    return pair


def activation_name(function: Any) -> str:
    """Keras's name of an activation."""
    return str(keras.activations.serialize(function))


def require(layer: Any, target: str, **only: Any) -> None:
    """Raise a ValueError with the first option of `layer` that `target` doesn't have."""
    for option, value in only.items():
        have = getattr(layer, option)
        have = activation_name(have) if callable(have) else have
        if have != value:
            raise ValueError(
                f"{target} can't express `{option}={have!r}` of layer {layer.name!r}, "
                f"only `{option}={value!r}`"
            )


def require_symmetric(layer: Any, target: str, option: str) -> None:
    """Raise a ValueError unless `1 - σ(a) = σ(-a)` for the layer's recurrent activation."""
    name = activation_name(layer.recurrent_activation)
    if name not in SYMMETRIC:
        raise ValueError(
            f"{target} can't express {option} of layer {layer.name!r} with "
            f"`recurrent_activation={name!r}`, only with one of {list(SYMMETRIC)}"
        )


def without_peepholes(layer: Any, weights: Weights, target: str) -> Weights:
    """The weights without the peepholes, or a ValueError if these are not all zero."""
    if np.any(weights.get("peephole_kernel", 0)):
        raise ValueError(
            f"{target} can't express the peepholes of layer {layer.name!r}: its "
            "`peephole_kernel` is not all zero"
        )
    return {name: value for name, value in weights.items() if name != "peephole_kernel"}


def plain_lstm(layer: Any, target: str) -> Weights:
    """The weights of the same LSTM without coupling.

    A coupled LSTM is a plain one whose input gate has the forget gate's weights negated:
    `i = 1 - σ(a) = σ(-a)`.

    Raises:
        ValueError: the layer has layer normalization, or its recurrent activation lacks the
            symmetry.
    """
    require(layer, target, layer_norm=False)
    if not layer.coupled_gates:
        return read(layer)
    require_symmetric(layer, target, "`coupled_gates=True`")
    return _uncoupled(read(layer))


def _uncoupled(weights: Weights) -> Weights:
    plain = dict(weights)
    for name in weights.keys() & {"kernel", "recurrent_kernel", "bias"}:
        f = np.split(weights[name], 3, axis=-1)[0]
        plain[name] = np.concatenate([-f, weights[name]], axis=-1)
    if "peephole_kernel" in weights:
        f, o = weights["peephole_kernel"]
        plain["peephole_kernel"] = np.stack([-f, f, o])
    return plain


def state_weighing_gru(layer: Any, target: str) -> Weights:
    """The weights of the same GRU with `update_gate="state"`.

    Raises:
        ValueError: the activation has no symmetry that makes the exchange exact.
    """
    weights = read(layer)
    if layer.update_gate == "state":
        return weights
    require_symmetric(layer, target, "`update_gate='candidate'`")
    return exchange_update(weights)


def exchange_update(weights: Weights) -> Weights:
    """The GRU weights of the other `update_gate`; z's columns are negated: `1 - σ(a) = σ(-a)`."""
    return {name: negate(value, "zrh", "z") for name, value in weights.items()}


def with_update_gate(layer: Any, update_gate: str) -> Any:
    """The layer; a GRU of the other `update_gate` is converted to the requested one.

    Raises:
        ValueError: the activation has no symmetry that makes the exchange exact.
    """
    if not isinstance(layer, GRU) or layer.update_gate == update_gate:
        return layer
    option = f"`update_gate={layer.update_gate!r}`"
    require_symmetric(layer, f"A GRU with `update_gate={update_gate!r}`", option)
    exchanged = GRU.from_config({**layer.get_config(), "update_gate": update_gate})
    if layer.built:
        write(exchanged, exchange_update(read(layer)))
    return exchanged
