"""The float32 copy of a model for training, and the layers that fuse into one operator."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops

from kgated.keras_internals.graph import consumers, count_calls, producer, run_again
from kgated.layers import to_gated
from kgated.optimize.clustering import SharedValues
from kgated.optimize.qat.elementwise import function_name, is_included
from kgated.optimize.qat.fake_quant import Array

# Layers that consist of a matrix product or a convolution, a bias and an activation.
LINEAR = (keras.layers.Dense, keras.layers.Conv1D, keras.layers.DepthwiseConv1D)
ELEMENTWISE: Mapping[type, Callable[[Array, Array], Array]] = {
    keras.layers.Add: ops.add,
    keras.layers.Subtract: ops.subtract,
    keras.layers.Multiply: ops.multiply,
}


def fused_layers(model: keras.Model) -> frozenset[str]:
    """The names of layers whose operator includes the next layer.

    The operator of a product includes batch normalization and ReLU. The operator before a
    Concatenate writes its result with the quantization parameters of the concatenation.
    """
    ends = {producer(x).name for x in model.outputs}
    return frozenset(
        layer.name
        for layer in model.layers
        if layer.name not in ends and _is_fused_with_next(layer)
    )


def _is_fused_with_next(layer: keras.Layer) -> bool:
    after = consumers(layer)
    if len(after) != 1 or count_calls(layer) != 1:
        return False
    (following,), function = after, getattr(layer, "activation", keras.activations.linear)
    is_product = isinstance(layer, LINEAR)
    linear = function is keras.activations.linear
    if isinstance(following, keras.layers.Concatenate):
        ends_in_product = is_product and not has_separate_activation(layer)
        return ends_in_product or isinstance(layer, (*ELEMENTWISE, keras.layers.BatchNormalization))
    if isinstance(following, keras.layers.BatchNormalization):
        return is_product and linear
    if not isinstance(following, keras.layers.ReLU | keras.layers.Activation):
        return False
    is_sum = isinstance(layer, keras.layers.BatchNormalization) or (is_product and linear)
    return is_sum and function_name(activation_of(following)) in ("relu", "relu6")


def has_separate_activation(layer: keras.Layer) -> bool:
    """Whether the activation of a Dense or convolution layer is a separate operator."""
    return not is_included(layer.activation)


def is_normalized(layer: keras.Layer) -> bool:
    """Whether the layer after a Dense or convolution layer is a batch normalization."""
    (after,) = consumers(layer)
    return isinstance(after, keras.layers.BatchNormalization)


def activation_of(layer: keras.Layer) -> Any:
    """The activation function of a layer, or an activation layer itself, except Softmax."""
    if isinstance(layer, keras.layers.Softmax):
        if layer.axis not in (-1, len(layer.output.shape) - 1):
            raise unsupported(layer, f"`axis={layer.axis}`, and kernels take the last axis, -1")
        return keras.activations.softmax
    if isinstance(layer, keras.layers.ReLU) and is_included(layer):
        return getattr(keras.activations, function_name(layer))
    return getattr(layer, "activation", layer)


def copy_layer(layer: keras.Layer) -> keras.Layer:
    """Copy a layer in float32, with its weights and the constraints of clustering."""
    try:
        copy = _copy(layer)
    except (TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise unsupported(layer, f"it can't be copied from its config ({reason})") from error
    for weight, original in zip(copy.weights, layer.weights, strict=True):
        if isinstance(original.constraint, SharedValues):
            weight.constraint = original.constraint
    return copy


def _copy(layer: keras.Layer) -> keras.Layer:
    if isinstance(layer, keras.layers.Bidirectional):
        return _copy_bidirectional(layer)
    if isinstance(layer, keras.layers.TimeDistributed):
        return _in_float32(layer.layer, name=layer.name)
    return _in_float32(to_gated(layer) if isinstance(layer, keras.layers.RNN) else layer)


def _copy_bidirectional(layer: keras.layers.Bidirectional) -> keras.layers.Bidirectional:
    config = layer.get_config()
    directions = [copy_layer(part) for part in (layer.forward_layer, layer.backward_layer)]
    copy = keras.layers.Bidirectional(
        directions[0],
        merge_mode=config["merge_mode"],
        backward_layer=directions[1],
        name=layer.name,
    )
    copy.build_from_config(layer.get_build_config())
    copy.set_weights(layer.get_weights())
    return copy


def _in_float32(layer: keras.Layer, **options: Any) -> keras.Layer:
    copy = type(layer).from_config({**layer.get_config(), "dtype": "float32", **options})
    if layer.built:
        copy.build_from_config(layer.get_build_config())
        copy.set_weights(layer.get_weights())
    if isinstance(copy, keras.layers.Normalization) and copy.built:
        copy.finalize_state()  # its mean is not a weight
    return copy


def clone_in_float32(model: keras.Model) -> keras.Model:
    """Copy a model and its weights in float32, with kgated's recurrent layers for Keras's."""
    copies: dict[int, Any] = {}

    def copied(layer: Any) -> Any:
        if isinstance(layer, keras.Model):
            raise unsupported(layer, "it is a model of its own; build one flat model")
        if not isinstance(layer, keras.Layer):
            return layer
        if id(layer) not in copies:
            copies[id(layer)] = copy_layer(layer)
        return copies[id(layer)]

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        # The call may be that of the TimeDistributed around the layer, with a mask.
        if isinstance(layer, keras.layers.Dense):
            kwargs = {}
        return layer(*args, **kwargs)

    inputs = [keras.Input(x.shape[1:], dtype=x.dtype, name=x.name) for x in model.inputs]
    single = inputs[0] if len(inputs) == 1 else inputs
    outputs = run_again(model, single, copied, call)
    # The names of outputs, which losses and files use; a Sequential has no `output` before a call.
    if not isinstance(model, keras.Sequential) and isinstance(model.output, dict):
        outputs = keras.tree.pack_sequence_as(model.output, keras.tree.flatten(outputs))
    return keras.Model(single, outputs, name=model.name)


def unsupported(layer: Any, reason: str) -> ValueError:
    """The error for a layer that has no integer counterpart here."""
    return ValueError(
        f"`model` has layer `{layer.name}` ({type(layer).__name__}), which can't be trained in "
        f"integers: {reason}. Change the layer, or quantize after training with `calibration`"
    )
