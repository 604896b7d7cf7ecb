"""Reductions of `keras.ops` over time, for the sequence up to now."""

from typing import Any

import keras
from keras import ops

from kgated.deploy.streaming.context import Handler, Handlers, StreamContext, TimeAxis
from kgated.deploy.streaming.pooling import RunningAverage, RunningMax
from kgated.framewise import axes_of


class RunningMin(RunningMax):
    """`RunningMax` of the smallest numbers."""

    def extreme_of_block(self, x: Any) -> Any:
        """The smallest numbers (B, F) of a block (B, n, F)."""
        return ops.min(x, axis=1)

    def extreme_of_both(self, x: Any, y: Any) -> Any:
        """The smaller numbers of two tensors."""
        return ops.minimum(x, y)


class RunningSum(keras.layers.Layer):
    """[x (B, n, F), total (B, F)] to [totals (B, n, F) up to each frame, total]."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.built = True

    def call(self, inputs: list[Any]) -> list[Any]:
        """One block; see the class."""
        x, total = inputs
        totals = []
        for n in range(x.shape[1]):
            total = total + x[:, n]
            totals.append(total)
        return [ops.stack(totals, axis=1), total]


def running(context: StreamContext, operation: Any, x: Any) -> Any:
    """The result of a reduction over time for the sequence up to now; None where it is no such.

    Masks are no part of it: operations of `keras.ops` do not see them.
    """
    name, rank = type(operation).__name__, len(x.shape)
    is_over_time = [axis % rank for axis in axes_of(operation)] == [1]
    plain = getattr(operation, "initial", None) is None and "float" in x.dtype
    if name not in _STEPS or not is_over_time or rank != 3 or not plain:
        return None
    result = _STEPS[name](context, operation, x)
    if name == "Cumsum" or not operation.keepdims:
        return result
    return TimeAxis((1, x.shape[-1]), context.unique(f"{operation.name}_kept"))(result)


def _average(context: StreamContext, operation: Any, x: Any) -> Any:
    context.counters.append(operation.name)
    step = RunningAverage(context.unique(f"{operation.name}_step"))
    return _updated(context, operation, step, x, "mean", "count")


def _maximum(context: StreamContext, operation: Any, x: Any) -> Any:
    step = RunningMax(context.unique(f"{operation.name}_step"))
    return _updated(context, operation, step, x, "max", "started")


def _minimum(context: StreamContext, operation: Any, x: Any) -> Any:
    step = RunningMin(context.unique(f"{operation.name}_step"))
    return _updated(context, operation, step, x, "min", "started")


def _total(context: StreamContext, operation: Any, x: Any) -> Any:
    return _totals(context, operation, x)[:, -1]


def _each_total(context: StreamContext, operation: Any, x: Any) -> Any:
    return context.timed(_totals(context, operation, x))


def _totals(context: StreamContext, operation: Any, x: Any) -> Any:
    context.counters.append(operation.name)
    step = RunningSum(context.unique(f"{operation.name}_step"))
    return _updated(context, operation, step, x, "sum")


def _updated(context: StreamContext, operation: Any, step: keras.Layer, x: Any, *names: str) -> Any:
    """The first result of a step, whose other results are the states (B, F), and (B, 1)."""
    sizes = (x.shape[-1], 1)
    states = [
        context.state(f"{operation.name}_{name}", size)
        for name, size in zip(names, sizes, strict=False)
    ]
    result, *new = step([x, *(value for _, value in states)])
    context.outputs.update(zip((name for name, _ in states), new, strict=True))
    return result


_STEPS = {
    "Mean": _average,
    "Max": _maximum,
    "Min": _minimum,
    "Sum": _total,
    "Cumsum": _each_total,
}


def _reduction(context: StreamContext, operation: Any, x: Any) -> Any:
    result = running(context, operation, x)
    return context.by_trial(operation, x) if result is None else result


HANDLERS: Handlers = {name: Handler(_reduction) for name in _STEPS}
