"""Attention over padded sequences, and sums over their time: padded frames get no weight."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops

from kgated.deploy.sequence.padding import PaddedTime, unsupported
from kgated.keras_internals.graph import mask_of

_BY_LIST = (keras.layers.Attention, keras.layers.AdditiveAttention)
_BY_ARGUMENT = (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention)


def takes_padding(layer: Any, args: Any) -> bool:
    """Whether `call_padded` computes a layer, or an operation of `keras.ops`, on padded frames.

    Args:
        layer: not of the user's own class.
        args: of its symbolic call.
    """
    if isinstance(layer, _BY_LIST + _BY_ARGUMENT):
        return True
    if isinstance(layer, keras.layers.Dot):
        return [axis % 3 for axis in _dot_axes(layer)] == [1, 1] and not layer.normalize
    if isinstance(layer, keras.Layer) and not isinstance(layer, keras.layers.Softmax):
        return False
    name = type(layer).__name__
    return name in _OVER_TIME and _axis(layer, len(args[0].shape)) == 1


def call_padded(
    time: PaddedTime, layer: Any, args: Any, kwargs: Any, call: Callable[..., Any]
) -> tuple[Any, bool]:
    """The results of a layer that reads over time, with the padded frames left out.

    Args:
        time: which tensors have padded frames.
        layer: one that `takes_padding`.
        args: of the symbolic call.
        kwargs: of the call.
        call: `call(args, kwargs)` calls the layer.

    Returns:
        The results, and whether they have the padded time axis.

    Raises:
        ConversionError: what the layer reads or returns has the padded time elsewhere, too.
    """
    if isinstance(layer, _BY_LIST):
        return _attention_by_list(time, layer, args, kwargs, call)
    if isinstance(layer, _BY_ARGUMENT):
        return _attention_by_argument(time, layer, args, kwargs, call)
    if isinstance(layer, keras.layers.Dot):
        first, second = args[0]
        return call(([_zero(time, x) for x in (first, second)],), kwargs), False
    if kwargs.get("mask") is not None:
        raise unsupported(layer)
    name, x = type(layer).__name__, args[0]
    padded = _OVER_TIME[name](time, x)
    if name == "Mean":
        total = ops.sum(padded, axis=1, keepdims=True) / _count(time, x)
        return (total if layer.keepdims else ops.squeeze(total, axis=1)), False
    return call((padded, *args[1:]), kwargs), name == "Softmax"


def _attention_by_list(
    time: PaddedTime, layer: Any, args: Any, kwargs: Any, call: Callable[..., Any]
) -> tuple[Any, bool]:
    query, value, *key = args[0]
    _check_keys(time, layer, value, key, kwargs)
    query_mask, value_mask, *more = kwargs.get("mask") or [mask_of(query), mask_of(value)]
    if time.has_time(value):
        value_mask = time.combined(value_mask)
    masks = None if query_mask is None and value_mask is None else [query_mask, value_mask, *more]
    return call(args, {**kwargs, "mask": masks}), time.has_time(query)


def _attention_by_argument(
    time: PaddedTime, layer: Any, args: Any, kwargs: Any, call: Callable[..., Any]
) -> tuple[Any, bool]:
    named = {**dict(zip(("query", "value", "key"), args, strict=False)), **kwargs}
    query, value, key = named["query"], named["value"], named.get("key")
    _check_keys(time, layer, value, [] if key is None else [key], kwargs)
    if len(query.shape) != 3 or isinstance(kwargs.get("attention_mask"), keras.KerasTensor):
        raise unsupported(layer)
    if time.has_time(value):
        mask = kwargs.get("value_mask")
        mask = time.combined(mask_of(value) if mask is None else mask)
        kwargs = {**kwargs, "value_mask": mask}
    return call(args, kwargs), time.has_time(query)


def _check_keys(time: PaddedTime, layer: Any, value: Any, key: list[Any], kwargs: Any) -> None:
    """Refuse keys without the frames of the values, and scores, one per pair of frames."""
    same_frames = all(time.has_time(x) == time.has_time(value) for x in key)
    if not same_frames or (time.has_time(value) and kwargs.get("return_attention_scores")):
        raise unsupported(layer)


def _dot_axes(layer: keras.layers.Dot) -> list[int]:
    return [layer.axes] * 2 if isinstance(layer.axes, int) else list(layer.axes)


def _axis(layer: Any, rank: int) -> int | None:
    """The axis that a layer reads over; None where there are several or all."""
    axes = keras.tree.flatten(getattr(layer, "axis", None))
    return axes[0] % rank if len(axes) == 1 and isinstance(axes[0], int) else None


def _real(time: PaddedTime, x: Any) -> Any:
    return ops.reshape(time.real, (*time.real.shape, *(1,) * (len(x.shape) - 2)))


def _zero(time: PaddedTime, x: Any) -> Any:
    """The tensor (B, T, ...) with zeros at padded frames."""
    return ops.where(_real(time, x), x, ops.zeros_like(x)) if time.has_time(x) else x


def _lowest(time: PaddedTime, x: Any) -> Any:
    """The tensor with its smallest number at padded frames, which changes no maximum."""
    return ops.where(_real(time, x), x, ops.min(x, axis=1, keepdims=True))


def _highest(time: PaddedTime, x: Any) -> Any:
    return ops.where(_real(time, x), x, ops.max(x, axis=1, keepdims=True))


def _masked(time: PaddedTime, x: Any) -> Any:
    """The tensor with numbers at padded frames that a softmax over time gives no weight."""
    return ops.where(_real(time, x), x, x - 1e9)


def _count(time: PaddedTime, x: Any) -> Any:
    """(B, 1, ...): how many frames are real."""
    return ops.sum(ops.cast(_real(time, x), "float32"), axis=1, keepdims=True)


# What replaces the padded frames of a tensor before it is reduced over time.
_OVER_TIME: Mapping[str, Callable[[PaddedTime, Any], Any]] = {
    "Softmax": _masked,
    "Sum": _zero,
    "Mean": _zero,
    "Max": _lowest,
    "Min": _highest,
}
