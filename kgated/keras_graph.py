"""The graph of layers of a functional or Sequential Keras model, run again on other inputs."""

import contextlib
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras.src.backend import compute_output_spec

from kgated.errors import ConversionError

OUTPUT = "output"


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


def replay(model: keras.Model, inputs: Any, call: Callable[..., Any] | None = None) -> Any:
    """Call each layer of `model` again, in order, from symbolic inputs to the symbolic output.

    Layers are shared with the model, except that those computing in another precision than float32
    or carrying state from batch to batch are replaced by a float32, stateless copy. A model inside
    the model is replayed in its place.

    Args:
        model: a functional or Sequential model.
        inputs: a KerasTensor to stand for each of the model's inputs; alone where there is one.
        call: `call(layer, *args, **kwargs)` in place of `layer(*args, **kwargs)`.

    Returns:
        A KerasTensor, or a list of them where the model has several outputs.

    Raises:
        ConversionError: a model in it has no graph of layers.
    """
    named = _OneOfAName()

    def visit(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, keras.Model):
            return run(layer, keras.tree.flatten(args))
        return call(layer, *args, **kwargs) if call else layer(*args, **kwargs)

    def run(inner: keras.Model, tensors: Any) -> Any:
        check_graph(inner)
        return run_again(inner, tensors, named, visit)

    with no_mask_warnings():
        return run(model, inputs)


def own(owners: dict[str, str], name: str, tensors: list[Any]) -> None:
    """Note down a layer of the model for every layer and operation that its call made.

    Args:
        owners: by name of what was made, the layer that it stands for; those in it stay.
        name: the layer.
        tensors: the symbolic results of its call.
    """
    pending = list(tensors)
    while pending:
        made, node, _ = pending.pop()._keras_history
        if made.name not in owners and not isinstance(made, keras.layers.InputLayer):
            owners[made.name] = name
            pending += made._inbound_nodes[node].input_tensors


def output_names(model: keras.Model) -> list[str]:
    """A name for each output: the keys of a dictionary of them, or the layers they come from."""
    if len(model.outputs) == 1:
        return [OUTPUT]
    if isinstance(model.output, dict):
        return keras.tree.flatten({name: name for name in model.output})
    return [x._keras_history.operation.name for x in model.outputs]


def plain_name(name: str, taken: set[str]) -> str:
    """The name, spelled so that every tool takes it, with a number if it is taken; then it is."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    found, count = plain, 2
    while found in taken:
        found, count = f"{plain}_{count}", count + 1
    taken.add(found)
    return found


@contextlib.contextmanager
def no_mask_warnings() -> Iterator[None]:
    """Without Keras's word on layers that drop masks: it was said when the model was built."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*destroy the mask information")
        yield


def any_length(model: keras.Model) -> keras.Model:
    """The same layers as a model over any number of time steps, whatever its `Input` said."""
    inputs = [keras.Input((None, *x.shape[2:]), dtype=x.dtype) for x in model.inputs]
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], replay(model, inputs))


def with_time(model: keras.Model) -> list[bool]:
    """For each output whether it has a time axis, and not one result for the whole sequence."""
    return [output.shape[1] is None for output in any_length(model).outputs]


def answers_each_frame(model: keras.Model) -> bool:
    """`with_time` of a model with one output."""
    return with_time(model)[0]


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


def for_inference(layer: keras.Layer) -> keras.Layer:
    """The layer itself, or a float32, stateless copy of one that is neither."""
    # Operations on masks stand in the graph too; they are no layers and have no precision.
    wide = getattr(layer, "compute_dtype", "float32") == "float32"
    if wide and not getattr(layer, "stateful", False):
        return layer
    return _copy(layer, dtype="float32", stateful=False)


class _OneOfAName:
    """Gives layers for inference, and another name to one whose name is taken.

    A graph refuses two layers of one name; models inside a model may well have them.
    """

    def __init__(self) -> None:
        self._made: dict[int, tuple[Any, Any]] = {}
        self._names: set[str] = set()

    def __call__(self, layer: Any) -> Any:
        if isinstance(layer, keras.Model):
            return layer
        if id(layer) not in self._made:
            made = for_inference(layer)
            if layer.name in self._names and isinstance(layer, keras.Layer):
                made = _copy(made, name=f"{layer.name}_{len(self._names)}")
            self._names.add(made.name)
            self._made[id(layer)] = layer, made
        return self._made[id(layer)][1]


def _copy(layer: keras.Layer, **changes: Any) -> keras.Layer:
    """The layer with other options, of those that it has, and the same weights."""
    config = layer.get_config()
    known = {name: value for name, value in changes.items() if name in config}
    copy = type(layer).from_config({**config, **known})
    if layer.built:
        copy.build_from_config(layer.get_build_config())
        copy.set_weights(layer.get_weights())
    return copy


def trace(function: Callable[..., Any], inputs: list[Any]) -> Any:
    """Call `function(*inputs)` on symbolic tensors; its exceptions are raised unchanged.

    Args:
        function: computes on tensors of the backend.
        inputs: KerasTensors, which give shapes and dtypes.

    Returns:
        KerasTensors in the structure of the result.
    """
    return compute_output_spec(function, *inputs)
