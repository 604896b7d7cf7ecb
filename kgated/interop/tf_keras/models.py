"""Convert whole models from Keras 3 to tf_keras and back, with bit-identical weights."""

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kgated import layers
from kgated.interop.tf_keras import layers as twins
from kgated.interop.tf_keras.packages import tf_keras
from kgated.keras_internals.graph import run_again

TWINS: dict[Any, Any] = {
    layers.LSTM: twins.TwinLSTM,
    layers.PeepholeLSTM: twins.TwinPeepholeLSTM,
    layers.GRU: twins.TwinGRU,
    layers.MinGRU: twins.TwinMinGRU,
    layers.MinLSTM: twins.TwinMinLSTM,
    keras.layers.Bidirectional: twins.TwinBidirectional,
    keras.layers.Normalization: twins.TwinNormalization,
}
# Layers with the same name, behaviour and weights in both libraries.
SHARED = (
    *("Activation", "Add", "Average", "AveragePooling1D", "BatchNormalization", "Concatenate"),
    *("Conv1D", "Dense", "Dropout", "ELU", "Embedding", "Flatten", "GaussianNoise"),
    *("GlobalAveragePooling1D", "GlobalMaxPooling1D", "GRU", "LSTM", "LayerNormalization"),
    *("Masking", "MaxPooling1D", "Maximum", "Minimum", "Multiply", "ReLU", "Rescaling", "Reshape"),
    *("SimpleRNN", "Softmax", "SpatialDropout1D", "Subtract", "ZeroPadding1D"),
)
PAIRS = TWINS | {getattr(keras.layers, n): getattr(tf_keras.layers, n) for n in SHARED}
BACK = {tf_keras_class: keras_class for keras_class, tf_keras_class in PAIRS.items()}
# Ignored in a configuration: weights are copied, and names of dtypes differ.
LEFT_OUT = ("dtype", "quantization_config", "batch_input_shape", "implementation", "time_major")
# Operations that Masking and Embedding add to the graph of a Keras 3 model.
OF_MASKS = ("NotEqual", "Any")
INSIDE = ("layer", "backward_layer")  # of a Bidirectional


def to_tf_keras(model: keras.Model) -> Any:
    """Convert a model to tf_keras, for tensorflow-model-optimization, with a copy of the weights.

    kgated's layers become their tf_keras counterparts, Keras's layers those of the same name.

    Args:
        model: a built Sequential or functional Keras 3 model in float32.

    Returns:
        A functional `tf_keras.Model`.

    Raises:
        ValueError: `model` has no fixed graph of layers, or a layer has an option that tf_keras's
            layer lacks, or another precision than float32.
        TypeError: a layer has no counterpart; the message names it.
    """
    if not isinstance(model, keras.Model) or not model.built:
        raise ValueError(f"`model` must be a built Keras 3 model. Received: {model!r}")
    copier = _Copier(PAIRS)
    inputs = [
        tf_keras.Input(x.shape[1:], x.shape[0], name=x.name, dtype=x.dtype) for x in model.inputs
    ]
    outputs = run_again(model, inputs, copier.layer, _call)
    copier.copy_weights()
    return tf_keras.Model(inputs, outputs, name=model.name)


def from_tf_keras(model: Any) -> keras.Model:
    """Convert a tf_keras model back to Keras 3, the inverse of `to_tf_keras`.

    Args:
        model: a Sequential or functional `tf_keras.Model` of twins and stock layers. Remove tfmot's
            wrappers first by `strip_pruning` or `strip_clustering`.

    Raises:
        ValueError, TypeError: as from `to_tf_keras`.
    """
    if not isinstance(model, tf_keras.Model) or not model.built:
        raise ValueError(f"`model` must be a built tf_keras model. Received: {model!r}")
    copier = _Copier(BACK)
    inputs = [
        keras.Input(batch_shape=tuple(x.shape), name=x.name, dtype=x.dtype.name)
        for x in model.inputs
    ]
    outputs = _run_tf_keras(model, inputs, copier.layer)
    copier.copy_weights()
    return keras.Model(inputs, outputs, name=model.name)


def _run_tf_keras(model: Any, inputs: list[Any], replace: Callable[[Any], Any]) -> Any:
    """Call the layers of a tf_keras model in order from symbolic inputs to the output."""
    if isinstance(model, tf_keras.Sequential):
        (x,) = inputs
        for layer in model.layers:
            x = replace(layer)(x)
        return x
    tensors = {id(x): y for x, y in zip(model.inputs, inputs, strict=True)}

    def replaced(x: Any) -> Any:
        return tensors.get(id(x), x)

    depths = sorted(model._nodes_by_depth, reverse=True)
    for node in (node for depth in depths for node in model._nodes_by_depth[depth]):
        if not node.is_input:
            arguments = keras.tree.map_structure(replaced, (node.call_args, node.call_kwargs))
            new = keras.tree.flatten(replace(node.layer)(*arguments[0], **arguments[1]))
            tensors |= dict(zip(map(id, keras.tree.flatten(node.outputs)), new, strict=True))
    outputs = [tensors[id(x)] for x in model.outputs]
    return outputs[0] if len(outputs) == 1 else outputs


def _no_mask(*args: Any, **kwargs: Any) -> None:
    """Replaces an operation that computes a mask: tf_keras's layers pass masks on implicitly."""


def _call(layer: Any, *args: Any, mask: Any = None, **kwargs: Any) -> Any:
    return layer(*args, **kwargs) if mask is None else layer(*args, mask=mask, **kwargs)


class _Copier:
    """Makes the counterpart of each layer, once per layer however often it is called.

    Args:
        pairs: class of a layer to class of its counterpart.
    """

    def __init__(self, pairs: dict[Any, Any]) -> None:
        self._pairs = pairs
        self._made: dict[int, tuple[Any, Any]] = {}

    def layer(self, layer: Any) -> Any:
        """The counterpart of a layer, without weights yet."""
        if type(layer).__name__ in OF_MASKS and not isinstance(layer, keras.Layer):
            return _no_mask
        if id(layer) not in self._made:
            self._made[id(layer)] = layer, self._new(layer)
        return self._made[id(layer)][1]

    def copy_weights(self) -> None:
        """Copy the weights to the counterparts, bit by bit, after these are built."""
        for old, new in self._made.values():
            if isinstance(old, keras.layers.Normalization | tf_keras.layers.Normalization):
                continue  # its statistics are constructor arguments
            values, places = old.get_weights(), new.get_weights()
            if [v.shape for v in values] != [p.shape for p in places]:
                raise ValueError(f"layer `{old.name}` has other weights in {type(new).__module__}")
            new.set_weights(values)

    def _new(self, layer: Any) -> Any:
        target = self._pairs.get(type(layer))
        if target is None:
            raise TypeError(
                f"layer `{layer.name}` ({type(layer).__name__}) has no counterpart in the other "
                "Keras: remove it; `strip_pruning` and `strip_clustering` remove tfmot's "
                "wrappers"
            )
        if layer.compute_dtype != "float32" and not isinstance(layer, keras.layers.Embedding):
            raise ValueError(
                f"layer `{layer.name}` must be in float32. Received: {layer.compute_dtype}"
            )
        options = _options(layer, target)
        if hasattr(layer, "backward_layer"):
            options |= {"layer": self._new(layer.forward_layer)}
            options |= {"backward_layer": self._new(layer.backward_layer)}
        return target(**options)


def _options(layer: Any, target: Any) -> dict[str, Any]:
    """The constructor arguments that both classes have; others must be at their defaults."""
    if isinstance(layer, keras.layers.Normalization | tf_keras.layers.Normalization):
        return _of_normalization(layer)
    config = layer.get_config()
    known = _parameters(target)
    gone = {*LEFT_OUT, *INSIDE, *(name for name in config if name.endswith("_initializer"))}
    defaults = _parameters(type(layer))
    for name in set(config) - known.keys() - gone:
        if config[name] != defaults.get(name, None):
            raise ValueError(
                f"layer `{layer.name}` has {name}={config[name]!r}, which the other Keras does not "
                "have: build it without"
            )
    options = {k: v for k, v in config.items() if k in known and k not in gone}
    if isinstance(layer, tf_keras.layers.BatchNormalization):
        (options["axis"],) = options["axis"]
    return options


def _parameters(layer: Any) -> dict[str, Any]:
    """Names and defaults of the constructor's arguments, including those of base classes."""
    parameters: dict[str, Any] = {"name": None, "trainable": True}
    known = getattr(layer, "kgated_class", layer)  # a twin takes the arguments of kgated's class
    for base in reversed(known.__mro__):
        signature = inspect.signature(vars(base).get("__init__", object))
        parameters |= {name: p.default for name, p in signature.parameters.items()}
    return parameters


def _of_normalization(layer: Any) -> dict[str, Any]:
    """Mean and variance as arguments, because the two classes store them differently as weights."""
    if layer.invert or tuple(layer.axis) != (-1,):
        raise ValueError(f"layer `{layer.name}` must normalize over the last axis, not inverted")
    mean, variance = (np.ravel(np.asarray(v)) for v in (layer.mean, layer.variance))
    return {"axis": -1, "mean": mean, "variance": variance, "name": layer.name}
