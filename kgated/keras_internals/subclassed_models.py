"""The graph of layers of a subclassed `keras.Model`, found by a call on symbolic inputs."""

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kgated.errors import ConversionError, cause
from kgated.keras_internals.graph import no_mask_warnings
from kgated.keras_internals.inference_copies import has_graph
from kgated.keras_internals.patches import exact_shapes

TOLERANCE = 1e-4  # relative to max(1, largest result)
EXAMPLE = "`x = keras.Input((None, features)); keras.Model(x, model(x))`"
Shape = tuple[int | None, ...]


def as_functional(model: keras.Model, error: type[Exception] = ConversionError) -> keras.Model:
    """The functional model that a subclassed one computes, with the same layers and weights.

    Args:
        model: any; returned as it is if it has a graph of layers, or is not built.
        error: what is raised.

    Returns:
        The functional model; its number of frames is free where `call` allows.

    Raises:
        error: `call` fails on symbolic inputs, or computes something else on real ones.
    """
    if has_graph(model) or isinstance(model, keras.Sequential) or not model.built:
        return model
    try:
        return _functional(model, model.get_build_config())
    except Exception as failure:
        raise error(
            f"model `{model.name}` is a subclass of `keras.Model` without a graph of layers, and "
            f"its `call` can't be turned into one: {cause(failure)}; write `call` of layers and "
            f"`keras.ops`, without `if` on values of tensors, so that {EXAMPLE} works, or build it "
            "with the functional API"
        ) from failure


def _functional(model: keras.Model, config: Any) -> keras.Model:
    """The model for the first kind of shapes that its `call` takes."""
    if not config:
        raise ConversionError("Keras could not call it on symbolic inputs")
    if "input_shape" not in config:
        raise ConversionError("it takes several arguments in place of one list or dictionary")
    failure, shapes = Exception(), config["input_shape"]
    ranks: list[int] = []
    _map_shapes(lambda shape: ranks.append(len(shape)), shapes)
    any_length = _any_length_of_frames if max(ranks) > 2 else _any_length  # then of tokens
    for change in (any_length, _any_batch, _single_row):
        try:
            functional = _trace(model, _map_shapes(change, shapes))
            _compare(model, functional, _map_shapes(_single_row, shapes))
            return functional
        except Exception as error:
            failure = error
    raise failure


def _is_shape(value: Any) -> bool:
    return all(size is None or isinstance(size, int) for size in value)


def _any_batch(shape: Shape) -> Shape:
    return None, *shape[1:]


def _any_length(shape: Shape) -> Shape:
    return None, None, *shape[2:]


def _any_length_of_frames(shape: Shape) -> Shape:
    """Vectors beside frames keep their size."""
    return _any_length(shape) if len(shape) > 2 else _any_batch(shape)


def _single_row(shape: Shape) -> Shape:
    return 1, *shape[1:]


def _map_shapes(function: Callable[..., Any], shapes: Any) -> Any:
    """The result for each shape (B, ...) in a structure of them."""
    if isinstance(shapes, dict):
        return {name: _map_shapes(function, part) for name, part in shapes.items()}
    if not _is_shape(shapes):
        return [_map_shapes(function, part) for part in shapes]
    return function(tuple(shapes))


def _trace(model: keras.Model, shapes: Any) -> keras.Model:
    inputs = _inputs(shapes)
    training = inspect.signature(model.call).parameters.get("training")
    # Without a value, the layers are told by the later call of the graph whether it is training.
    options = {"training": None} if training and training.default is training.empty else {}
    with no_mask_warnings(), exact_shapes():
        return keras.Model(inputs, model.call(inputs, **options), name=model.name)


def _inputs(shapes: Any) -> Any:
    """A symbolic input for each shape; of a dictionary, with the names of its keys."""
    if isinstance(shapes, dict):
        return {k: keras.Input(batch_shape=v, name=k) for k, v in shapes.items()}
    return _map_shapes(lambda shape: keras.Input(batch_shape=shape), shapes)


def _compare(model: keras.Model, functional: keras.Model, shapes: Any) -> None:
    """Refuse a graph with other results than the model's `call`."""
    rng = np.random.default_rng(0)
    values = _map_shapes(lambda shape: _noise(rng, shape), shapes)
    expected = keras.tree.flatten(model(values, training=False))
    results = keras.tree.flatten(functional(values, training=False))
    for result, reference in zip(results, expected, strict=True):
        a, b = (np.asarray(keras.ops.convert_to_numpy(y), float) for y in (result, reference))
        limit = TOLERANCE * max(1.0, float(np.abs(b).max(initial=0.0)))
        if a.shape != b.shape or not np.abs(a - b).max(initial=0.0) <= limit:
            raise ConversionError("the results of its layers are not those of its `call`")


def _noise(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Frames, or numbers that may be tokens where the shape is (B, T)."""
    sizes = [8 if size is None else size for size in shape]
    if len(sizes) == 2:
        return rng.integers(0, 2, sizes).astype(np.float32)
    return rng.normal(size=sizes).astype(np.float32)
