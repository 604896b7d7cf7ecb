"""The weight matrices of a model, by layer: those that pruning and clustering change."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from kgated.argument_checks import as_names
from kgated.keras_internals.graph import flatten_layers

Matrices = dict[str, list[Any]]

# Peepholes, biases and gains are few, and the results depend strongly on each.
_BY_DEFAULT = {"kernel", "recurrent_kernel", "projection_kernel"}
_BY_NAME = _BY_DEFAULT | {"embeddings"}
_KINDS = (keras.layers.RNN, keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D)


def matrices(model: keras.Model, layers: Sequence[str] | None = None) -> Matrices:
    """The weight matrices of a model, each once, by the name of their layer.

    Args:
        model: a built model; layers of nested models are named `inner/layer`.
        layers: names of layers, including Embedding layers. None: all recurrent, Dense and
            convolution layers, also in wrappers.

    Raises:
        ValueError: `model` is not built or has no such matrices, or has no layer of a name.
        TypeError: `model` is not a Keras model.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a `keras.Model`. Received: {model!r}")
    layers = None if layers is None else as_names("layers", layers)
    if not model.built:
        raise ValueError("`model` must be built, and has no weights yet: give it an `Input`")
    by_layer, visited = {}, set[int]()
    for name, layer in _outer(model):
        new_weights = [w for w in _weights(layer, layers is not None) if id(w) not in visited]
        if new_weights and (layers is None or name in layers):
            by_layer[name] = new_weights
            visited.update(map(id, new_weights))
    if unknown := sorted(set(layers or ()) - set(by_layer)):
        possible = [name for name, layer in _outer(model) if list(_weights(layer, True))]
        raise ValueError(
            f"`layers` must name layers with weight matrices: {possible}. Received: {unknown}"
        )
    if not by_layer:
        possible = [name for name, layer in _outer(model) if list(_weights(layer, True))]
        hint = f"give some of `layers={possible}`" if possible else "there is nothing to reduce"
        raise ValueError(
            f"`model` must have recurrent, Dense or convolution layers, and has none: {hint}"
        )
    return by_layer


def sparsity(model: keras.Model) -> dict[str, float]:
    """The fraction of zeros in the weight matrices of each layer, from 0 to 1.

    Args:
        model: a built model.

    Returns:
        Name of a layer to its fraction of zeros.

    Raises:
        ValueError: `model` is not built or has no recurrent, Dense or convolution layer.
    """
    shares = {}
    for name, weights in matrices(model).items():
        values = np.concatenate([values_of(w).ravel() for w in weights])
        shares[name] = float(np.mean(values == 0))
    return shares


def values_of(weight: Any) -> np.ndarray:
    """A weight's values as a NumPy array."""
    return np.asarray(keras.ops.convert_to_numpy(weight))


def _outer(model: keras.Model, prefix: str = "") -> Iterator[tuple[str, keras.Layer]]:
    """The layers that users name: those of nested models, but not the cells of layers."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _outer(layer, f"{prefix}{layer.name}/")
        else:
            yield prefix + layer.name, layer


def _weights(layer: keras.Layer, named: bool) -> Iterator[Any]:
    """The matrices of a layer; of any kind of layer if the user named it."""
    names = _BY_NAME if named else _BY_DEFAULT
    for part in flatten_layers(layer):
        if named or isinstance(part, _KINDS):
            yield from (w for w in part.weights if w.name in names)
