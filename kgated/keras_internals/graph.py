"""The graph of layers of a functional or Sequential Keras model, run again on other inputs."""

import contextlib
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import ops
from keras.src.backend import compute_output_spec

from kgated.errors import ConversionError, naming_layer
from kgated.keras_internals.inference_copies import UniqueNames, has_graph
from kgated.keras_internals.patches import exact_shapes

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
    # `keras.models.clone_model` does the same, but can't add inputs (states, markers) on the way.
    graph = keras.Model(model.inputs, model.outputs)
    results = graph._run_through_graph(inputs, operation_fn=replace, call_fn=call)
    outputs = keras.tree.flatten(results)
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


class LayerCalls:
    """Calls the layers of a replayed graph; a subclass has `call_layer`.

    Attributes:
        owners: by name of each layer and operation in the new graph, the layer that it stands for.
    """

    def __init__(self) -> None:
        self.owners: dict[str, str] = {}
        self._owner: str | None = None

    def __call__(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """The replacement of `layer(*args, **kwargs)` in the new graph."""
        results = self.call_layer(layer, *args, **kwargs)
        self._own(self._owner or layer.name, [*keras.tree.flatten(results), *self.more_results()])
        return results

    def call_layer(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """The replacement of `layer(*args, **kwargs)`."""
        raise NotImplementedError

    def more_results(self) -> list[Any]:
        """Symbolic tensors that calls made beside their results."""
        return []

    def opens(self, layer: Any, *args: Any, **kwargs: Any) -> bool:
        """Whether the layers inside of a composite layer may be called in its place."""
        return False

    @contextlib.contextmanager
    def inside(self, layer: Any) -> Iterator[None]:
        """Count what is called meanwhile as parts of a composite layer."""
        outer, self._owner = self._owner, self._owner or layer.name
        try:
            yield
        except ConversionError as error:
            if outer is None and isinstance(error.args[0], str):
                error.args = (f"layer `{layer.name}` ({type(layer).__name__}): {error}",)
            raise
        finally:
            self._owner = outer

    def _own(self, name: str, results: list[Any]) -> None:
        """Note down `name` as the owner of all that leads to the results and has no owner yet."""
        pending = list(results)
        while pending:
            layer, node, _ = pending.pop()._keras_history
            if layer.name not in self.owners and not isinstance(layer, keras.layers.InputLayer):
                self.owners[layer.name] = name
                pending += layer._inbound_nodes[node].input_tensors


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
        ConversionError: the model has no graph of layers, or a call of a layer fails.
    """
    named = UniqueNames()

    def visit(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, keras.Model) and has_graph(layer):
            return run(layer, keras.tree.flatten(args))
        args, kwargs = keras.tree.map_structure(_as_constant, (args, kwargs))
        with naming_layer(layer):
            traced = _opened(call, layer, args, kwargs)
            if traced is None or not isinstance(call, LayerCalls):
                return call(layer, *args, **kwargs) if call else layer(*args, **kwargs)
            inside, tensors = traced
            with call.inside(layer):
                results = keras.tree.flatten(run(inside, tensors))
            return keras.tree.pack_sequence_as(inside.output, results)

    def run(inner: keras.Model, tensors: Any) -> Any:
        return run_again(inner, tensors, named, visit)

    check_graph(model)
    with no_mask_warnings(), exact_shapes():
        return run(model, inputs)


def _as_constant(argument: Any) -> Any:
    """A weight that a layer's `call` uses itself as its numbers; no layer would bring it along."""
    is_weight = isinstance(argument, keras.Variable)
    return ops.convert_to_tensor(ops.convert_to_numpy(argument)) if is_weight else argument


def _opened(call: Any, layer: Any, args: Any, kwargs: Any) -> tuple[keras.Model, list[Any]] | None:
    """The result of `trace` for a layer that `call` opens; None where `trace` fails."""
    if not isinstance(call, LayerCalls) or not call.opens(layer, *args, **kwargs):
        return None
    try:
        return trace(layer, args, kwargs)
    except Exception:
        return None  # `call` then says why it does not take the layer as it is


def trace(layer: keras.Layer, args: Any, kwargs: Any) -> tuple[keras.Model, list[Any]]:
    """The layers and operations that a layer's `call` is made of, as a model.

    Args:
        layer: built, of the user's own class.
        args: of a symbolic call.
        kwargs: of the call.

    Returns:
        The model, and the symbolic tensors among the arguments, which are its inputs.

    Raises:
        Exception: whatever `call` raises on symbolic tensors.
    """
    leaves = keras.tree.flatten((args, kwargs))
    tensors = {id(x): x for x in leaves if isinstance(x, keras.KerasTensor)}
    inputs = {n: keras.Input(batch_shape=x.shape, dtype=x.dtype) for n, x in tensors.items()}
    new_args, new_kwargs = keras.tree.map_structure(lambda x: inputs.get(id(x), x), (args, kwargs))
    results = layer.call(*new_args, **new_kwargs)
    return keras.Model(list(inputs.values()), results), list(tensors.values())


def flatten_layers(layer: keras.Layer, include_self: bool = True) -> list[keras.Layer]:
    """The layer and every layer inside of it, at any depth."""
    return list(layer._flatten_layers(include_self=include_self))


def consumers(layer: Any) -> list[Any]:
    """The layers that take the results of a layer, one for each use."""
    return [node.operation for node in layer._outbound_nodes]


def count_calls(layer: Any) -> int:
    """How often a layer was called on symbolic tensors."""
    return len(layer._inbound_nodes)


def producer(tensor: Any) -> Any:
    """The layer, or the operation of `keras.ops`, that a symbolic tensor is a result of."""
    return tensor._keras_history.operation


def mask_of(tensor: Any) -> Any:
    """The mask that a symbolic tensor carries; None where it has none."""
    return getattr(tensor, "_keras_mask", None)


def takes_training(layer: Any) -> bool:
    """Whether the call of a layer, or of a cell, has an argument `training`."""
    return bool(getattr(layer, "_call_has_training_arg", False))


def takes_mask(layer: Any) -> bool:
    """Whether the call of a layer has an argument `mask`."""
    return bool(getattr(layer, "_call_has_mask_arg", False))


def has_own(method: str, layer: Any) -> bool:
    """Whether a layer's method, such as `call`, is neither Keras's nor kgated's."""
    definer = next(kind for kind in type(layer).__mro__ if method in vars(kind))
    return definer.__module__.split(".")[0] not in ("keras", "kgated")


def wrap_clipping(
    optimizer: keras.Optimizer, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> None:
    """Replace the function by which an optimizer clips gradients by `wrap(function)`."""
    optimizer._clip_gradients = wrap(optimizer._clip_gradients)


def output_names(model: keras.Model) -> list[str]:
    """A name for each output: the keys of a dictionary of them, or the layers they come from."""
    if len(model.outputs) == 1:
        return [OUTPUT]
    if isinstance(model.output, dict):
        return keras.tree.flatten({name: name for name in model.output})
    return [producer(x).name for x in model.outputs]


def plain_name(name: str, taken: set[str]) -> str:
    """A name of ASCII letters, digits and inner `_`, numbered if it is taken; added to `taken`."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII).lstrip("_") or "unnamed"
    unique, count = plain, 2
    while unique in taken:
        unique, count = f"{plain}_{count}", count + 1
    taken.add(unique)
    return unique


@contextlib.contextmanager
def no_mask_warnings() -> Iterator[None]:
    """Silence Keras's warnings of layers that drop masks, and of a softmax over one frame."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*destroy the mask information")
        warnings.filterwarnings("ignore", message="You are using a softmax over axis")
        yield


def any_length(model: keras.Model) -> keras.Model:
    """The same layers as a model over any number of time steps, whatever its `Input` said."""
    inputs = [keras.Input((None, *x.shape[2:]), dtype=x.dtype) for x in model.inputs]
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], replay(model, inputs))


def check_graph(model: keras.Model) -> None:
    """Refuse a model that has no graph of layers to replay.

    Raises:
        ConversionError: it is not built, or a subclass of `keras.Model` with code of its own.
    """
    if isinstance(model, keras.Sequential) and not model.built:
        raise ConversionError(
            f"model `{model.name}` is not built: start it with `keras.Input((None, features))`"
        )
    if not has_graph(model):
        raise ConversionError(
            f"model `{model.name}` is a subclass of `keras.Model` without a graph of layers; "
            "call it on an input, as in `x = keras.Input((None, features)); "
            "keras.Model(x, model(x))`, or build it with the functional API"
        )


def trace_function(function: Callable[..., Any], inputs: list[Any]) -> Any:
    """Call `function(*inputs)` on symbolic tensors; its exceptions are raised unchanged.

    Args:
        function: computes on tensors of the backend.
        inputs: KerasTensors, which give shapes and dtypes.

    Returns:
        KerasTensors in the structure of the result.
    """
    return compute_output_spec(function, *inputs)
