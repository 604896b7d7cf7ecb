"""Copies of layers with weights of their own, in float32, our layers in place of Keras's."""

import keras

from kgated.layers import ours
from kgated.optimize.clustering import SharedValues


def copy_layer(layer: keras.Layer) -> keras.Layer:
    """The layer with the same weights; values that clusters share stay shared."""
    if isinstance(layer, keras.layers.Bidirectional):
        copy = _both_ways(layer)
    else:
        copy = _in_float32(ours(layer) if isinstance(layer, keras.layers.RNN) else layer)
    for weight, theirs in zip(copy.weights, layer.weights, strict=True):
        if isinstance(theirs.constraint, SharedValues):
            weight.constraint = theirs.constraint
    return copy


def _both_ways(layer: keras.layers.Bidirectional) -> keras.layers.Bidirectional:
    config = layer.get_config()
    ways = [copy_layer(way) for way in (layer.forward_layer, layer.backward_layer)]
    copy = keras.layers.Bidirectional(
        ways[0], merge_mode=config["merge_mode"], backward_layer=ways[1], name=layer.name
    )
    copy.build_from_config(layer.get_build_config())
    copy.set_weights(layer.get_weights())
    return copy


def _in_float32(layer: keras.Layer) -> keras.Layer:
    copy = type(layer).from_config({**layer.get_config(), "dtype": "float32"})
    if layer.built:
        copy.build_from_config(layer.get_build_config())
        copy.set_weights(layer.get_weights())
    if isinstance(copy, keras.layers.Normalization) and copy.built:
        copy.finalize_state()  # what it subtracts is no weight
    return copy
