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
        model: a functional or Sequential model.
        inputs: a KerasTensor to stand for each of the model's inputs, in their order; alone where
            there is one.
        replace: from a layer, or an operation of `keras.ops`, to what is called in its place.
        call: `call(layer, *args, **kwargs)` for `layer(*args, **kwargs)`.

    Returns:
        A KerasTensor, or a list of them where the model has several outputs.
    """
    # What `keras.models.clone_model` does, which can't add inputs (states, marks) on the way.
    graph = keras.Model(model.inputs, model.outputs)
    found = graph._run_through_graph(inputs, operation_fn=replace, call_fn=call)
    outputs = keras.tree.flatten(found)
    return outputs[0] if len(outputs) == 1 else outputs


def run_on(model: keras.Model, values: list[Any], call: Callable[..., Any]) -> Any:
    """Call `call(layer, *args, **kwargs)` for each layer of a functional model, in order.

    Args:
        model: functional.
        values: what stands for each of its inputs: tensors, or any objects that `call` knows.
        call: its results stand for those of the layer.

    Returns:
        What stands for the model's output, in its structure.
    """
    return model._run_through_graph(values, operation_fn=lambda layer: layer, call_fn=call)
