"""Assign the weights of an `.h5` file to the variables of a Keras 3 model."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

Array = np.ndarray
Named = list[tuple[str, Array]]

GATES = {"LSTM": "ifco", "GRU": "zrh"}
STEEPNESS = 1.2
"""Keras 2's hard sigmoid is clip(0.2 a + 0.5), Keras 3's clip(a / 6 + 0.5)."""


def names_in(group: Any, attribute: str) -> list[str]:
    """A list of names in the attributes of a group; a long list is stored in numbered pieces."""
    pieces = [attribute] if attribute in group.attrs else []
    while not pieces or attribute not in group.attrs:
        if f"{attribute}{len(pieces)}" not in group.attrs:
            break
        pieces.append(f"{attribute}{len(pieces)}")
    values = [value for piece in pieces for value in group.attrs[piece]]
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def read_weights(group: Any) -> dict[str, Named]:
    """Name and array of each layer's weights, by the layer's name."""
    weights_by_layer = {}
    for layer in names_in(group, "layer_names"):
        weights = [(name, np.asarray(group[layer][name])) for name in _weights_of(group[layer])]
        weights_by_layer[layer.replace("/", "_")] = weights
    return weights_by_layer


def _weights_of(group: Any) -> list[str]:
    return names_in(group, "weight_names")


def assign(model: keras.Model, weights: dict[str, Named]) -> None:
    """Copy the weights into the layers of the same names.

    Raises:
        ValueError: a layer has no weights in the file, weights have no layer, or a shape differs.
    """
    layers = {layer.name: layer for layer in model.layers if _variables(layer)}
    saved = {name for name, arrays in weights.items() if arrays}
    if missing := sorted(layers.keys() ^ saved):
        raise ValueError(
            f"the weights in the file and the layers of the model differ in {missing}: the file is "
            "damaged, or belongs to another model"
        )
    values: dict[int, tuple[Any, str, Array]] = {}
    for name, layer in layers.items():
        values |= _pairs(layer, weights[name], name)
    for layer in every_layer(model):
        _from_cudnn(layer, values)
    for variable, name, array in values.values():
        if tuple(variable.shape) != array.shape:
            raise ValueError(
                f"`{name}` must have shape {tuple(variable.shape)}. Received: {array.shape}"
            )
        variable.assign(array)
    for layer in every_layer(model):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def _pairs(layer: Any, arrays: Named, where: str) -> dict[int, tuple[Any, str, Array]]:
    """Each variable of a layer with its name in the file and its value."""
    if isinstance(layer, keras.Model):
        by_layer: dict[str, Named] = {}
        for name, array in arrays:
            first, _, rest = name.partition("/")
            by_layer.setdefault(first, []).append((rest, array))
        inner = {
            inner_layer.name: inner_layer for inner_layer in layer.layers if _variables(inner_layer)
        }
        if inner.keys() == by_layer.keys():
            pairs: dict[int, tuple[Any, str, Array]] = {}
            for name, inner_layer in inner.items():
                pairs |= _pairs(inner_layer, by_layer[name], f"{where}/{name}")
            return pairs
    variables = _variables(layer)
    if len(variables) != len(arrays):
        raise ValueError(
            f"layer `{where}` has {len(variables)} weights. Received: {len(arrays)} in the file"
        )
    names = [f"{where}: {name}" for name, _ in arrays]
    values = [array for _, array in arrays]
    return {id(v): (v, n, a) for v, n, a in zip(variables, names, values, strict=True)}


def _variables(layer: Any) -> list[Any]:
    """The layer's weights in the order of an `.h5` file, without states."""
    return [
        variable
        for variable in [*layer.trainable_weights, *layer.non_trainable_weights]
        if variable.name != "rnn_state"
    ]


def every_layer(layer: Any) -> Iterator[Any]:
    """The layer and every layer and cell in it."""
    yield layer
    inner = [getattr(layer, name, None) for name in ("forward_layer", "backward_layer", "cell")]
    if isinstance(layer, keras.layers.TimeDistributed):
        inner.append(layer.layer)
    for child in [*inner, *getattr(layer, "layers", []), *(getattr(layer, "cells", None) or [])]:
        if isinstance(child, keras.Layer):
            yield from every_layer(child)


def _from_cudnn(layer: Any, values: dict[int, tuple[Any, str, Array]]) -> None:
    """Rearrange weights from CuDNN's layout; its bias has two halves in one row.

    CuDNN computes W x where Keras computes x W, so each gate's block is stored transposed. The
    kernel's blocks are transposed inside an array of Keras's shape.
    """
    kind = type(layer).__name__.removesuffix("Cell")
    if kind not in GATES or not isinstance(layer, keras.layers.LSTMCell | keras.layers.GRUCell):
        return
    gates, stored = len(GATES[kind]), {}
    for name in ("kernel", "recurrent_kernel", "bias"):
        variable = getattr(layer, name, None)
        if variable is not None and id(variable) in values:
            stored[name] = values[id(variable)]
    if "bias" not in stored or stored["bias"][2].shape != (2 * gates * layer.units,):
        return
    for name, (variable, where, array) in stored.items():
        if name == "bias":
            both = array.reshape(2, -1)
            array = both.sum(axis=0) if kind == "LSTM" else both
        else:
            array = from_cudnn_layout(array, gates)
        values[id(variable)] = variable, where, array


def from_cudnn_layout(kernel: Array, gates: int) -> Array:
    """A kernel (F, gates * U) of a CuDNN layer in the layout of Keras's other layers."""
    blocks = np.split(kernel, gates, axis=1)
    return np.concatenate([block.reshape(block.shape[::-1]).T for block in blocks], axis=1)


def scale_hard_sigmoids(model: keras.Model) -> None:
    """Multiply the gates' weights by 1.2, so that Keras 3's hard sigmoid equals Keras 2's."""
    for cell in every_layer(model):
        kind = "GRU" if isinstance(cell, keras.layers.GRUCell) else "LSTM"
        if getattr(cell, "recurrent_activation", None) is not keras.activations.hard_sigmoid:
            continue
        if getattr(cell, "cell", None) is not None:  # the layer; its cell is visited separately
            continue
        factors = [1.0 if gate in "ch" else STEEPNESS for gate in GATES[kind]]
        for variable in cell.trainable_weights + cell.non_trainable_weights:
            width = variable.shape[-1] // len(factors)
            variable.assign(variable * np.repeat(factors, width).astype(variable.dtype))
