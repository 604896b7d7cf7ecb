"""The graph of layers of a functional or Sequential Keras model, run again on other inputs."""

from collections.abc import Callable
from typing import Any

import keras


def run_again(
    model: keras.Model,
    inputs: Any,
    replace: Callable[[Any], Any],
    call: Callable[..., Any] | None = None,
) -> Any:
    """Call the layers of `model` in order from symbolic `inputs` to the symbolic output.

    Args:
        model: a model with one input and one output.
        inputs: a KerasTensor to stand for the model's input.
        replace: from a layer, or an operation of `keras.ops`, to what is called in its place.
        call: `call(layer, *args, **kwargs)` for `layer(*args, **kwargs)`.

    Returns:
        A KerasTensor.
    """
    # What `keras.models.clone_model` does, which can't add inputs (states, marks) on the way.
    graph = keras.Model(model.inputs, model.outputs)
    outputs = graph._run_through_graph([inputs], operation_fn=replace, call_fn=call)
    return keras.tree.flatten(outputs)[0]
