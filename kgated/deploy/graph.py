"""The graph of layers of a Keras model, run again on other inputs."""

from collections.abc import Callable
from typing import Any

import keras

from kgated.errors import ConversionError
from kgated.graph import run_again


def replay(model: keras.Model, inputs: Any, call: Callable[..., Any] | None = None) -> Any:
    """Call each layer of `model` again, in order, from symbolic `inputs` to the symbolic output.

    Layers are shared with the model, except that those computing in another precision than float32
    or carrying state from batch to batch are replaced by a float32, stateless copy.

    Args:
        model: a functional or Sequential model with one input and one output.
        inputs: a KerasTensor to stand for the model's input.
        call: `call(layer, *args, **kwargs)` in place of `layer(*args, **kwargs)`.

    """
    return run_again(model, inputs, _for_inference, call)


def any_length(model: keras.Model) -> keras.Model:
    """The same layers as a model over any number of time steps, whatever its `Input` said."""
    first = model.inputs[0]
    inputs = keras.Input((None, *first.shape[2:]), dtype=first.dtype)
    return keras.Model(inputs, replay(model, inputs))


def answers_each_frame(model: keras.Model) -> bool:
    """Whether the output has a time axis, and not one result for the whole sequence."""
    return any_length(model).outputs[0].shape[1] is None


def check_graph(model: keras.Model) -> None:
    """Refuse a model that has no graph of layers to replay.

    Raises:
        ConversionError: it is not built, or a subclass of `keras.Model` with code of its own.
    """
    if isinstance(model, keras.Sequential) and not model.built:
        raise ConversionError(
            f"model `{model.name}` is not built: start it with `keras.Input((None, features))`"
        )
    if not getattr(model, "inputs", None):
        raise ConversionError(
            f"model `{model.name}` is a subclass of `keras.Model` without a graph of layers; "
            "build it with `keras.Sequential` or the functional API"
        )


def _for_inference(layer: keras.Layer) -> keras.Layer:
    # Operations on masks stand in the graph too; they are no layers and have no precision.
    wide = getattr(layer, "compute_dtype", "float32") == "float32"
    if wide and not getattr(layer, "stateful", False):
        return layer
    config = {**layer.get_config(), "dtype": "float32"}
    if "stateful" in config:
        config["stateful"] = False
    copy = type(layer).from_config(config)
    if layer.built:
        copy.build_from_config(layer.get_build_config())
        copy.set_weights(layer.get_weights())
    return copy
