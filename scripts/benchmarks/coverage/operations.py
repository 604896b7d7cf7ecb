"""A row for each operation of `keras.ops` that people put between layers of a functional model."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from benchmarks.coverage.rows import FEATURES, FRAMES, Call, Row, frames

MATRIX = np.linspace(-1, 1, FEATURES * 3, dtype="float32").reshape(FEATURES, 3)
UNARY = (
    *(ops.abs, ops.exp, ops.expm1, ops.square, ops.negative),
    *(ops.sin, ops.cos, ops.tanh, ops.sigmoid, ops.relu, ops.relu6, ops.leaky_relu),
    *(ops.elu, ops.selu, ops.celu, ops.gelu, ops.silu, ops.softplus, ops.softsign, ops.hard_tanh),
    *(ops.hard_sigmoid, ops.hard_silu, ops.log_sigmoid, ops.squareplus, ops.tanh_shrink, ops.erf),
    *(ops.arctan, ops.sinh, ops.cosh, ops.arcsinh, ops.stop_gradient),
)
STEPS = (ops.sign, ops.floor, ops.ceil, ops.round)
POSITIVE = (ops.log, ops.log1p, ops.log2, ops.log10, ops.sqrt, ops.rsqrt, ops.reciprocal)
BINARY = (
    *(ops.add, ops.subtract, ops.multiply, ops.maximum, ops.minimum, ops.arctan2, ops.logaddexp),
)
REDUCTIONS = (ops.sum, ops.mean, ops.max, ops.min, ops.prod, ops.var, ops.std, ops.logsumexp)
COMPARISONS = (ops.greater, ops.greater_equal, ops.less, ops.less_equal)


def _name(function: Any) -> str:
    return f"ops.{function.__name__}"


def _branch(y: Any) -> Any:
    return keras.layers.Dense(FEATURES, name="branch")(y)


def _with_steps(y: Any, steps: Any) -> Any:
    """A tenth of a function with steps, which a rounding error can take to the next one."""
    return y + 0.1 * steps


def _positive(y: Any) -> Any:
    """Numbers above 0.5, whose logarithms and reciprocals have a range."""
    return ops.softplus(y) + 0.5


def _plain(name: str, call: Call) -> Row:
    return frames(f"ops.{name}", call)


def _fixed(name: str, call: Call) -> Row:
    """Of a model that says how many frames there are."""
    return frames(f"ops.{name}", call, length=FRAMES)


def _each(functions: Iterable[Any], call: Callable[..., Any], suffix: str = "") -> list[Row]:
    """A row for each function; `call(function, y)` is between the layers."""
    return [frames(f"{_name(f)}{suffix}", partial(call, f)) for f in functions]


ELEMENTWISE = [
    *_each(UNARY, lambda f, y: f(y)),
    *_each(STEPS, lambda f, y: _with_steps(y, f(y))),
    *_each(COMPARISONS, lambda f, y: _with_steps(y, ops.cast(f(y, _branch(y)), "float32"))),
    *_each((ops.zeros_like, ops.ones_like), lambda f, y: y + f(y)),
    *_each((ops.arcsin, ops.arccos), lambda f, y: f(ops.tanh(y))),
    *_each(POSITIVE, lambda f, y: f(_positive(y))),
    *_each(BINARY, lambda f, y: f(y, _branch(y))),
    _plain("divide", lambda y: ops.divide(y, _positive(_branch(y)))),
    _plain("true_divide (by a number)", lambda y: ops.true_divide(y, 3.0)),
    _plain("power (of a number)", lambda y: ops.power(_positive(y), 2.5)),
    _plain("power", lambda y: ops.power(_positive(y), _branch(y))),
    _plain("mod", lambda y: _with_steps(y, ops.mod(y, 1.0))),
    _plain("floor_divide", lambda y: _with_steps(y, ops.floor_divide(y, 0.5))),
    _plain("maximum (of a number)", lambda y: ops.maximum(y, 0.1)),
    _plain("clip", lambda y: ops.clip(y, -0.5, 0.5)),
    _plain("nan_to_num", ops.nan_to_num),
    _plain("where", lambda y: _with_steps(y, ops.where(y > 0.1, y, _branch(y)))),
    _plain("where (of numbers)", lambda y: ops.where(y > 0.0, y, 0.0)),
    _plain("logical_and", lambda y: ops.where(ops.logical_and(y > -9.0, y < 0.5), y, 0.5)),
    _plain("isnan", lambda y: ops.where(ops.isnan(y), 0.0, y)),
    _plain("cast", lambda y: ops.cast(y > 0.0, "float32") * y),
]
OF_FEATURES = [
    *_each(REDUCTIONS, lambda f, y: f(y, axis=-1, keepdims=True), " (features)"),
    _plain("norm (features)", lambda y: ops.norm(y, axis=-1, keepdims=True)),
    _plain("normalize", lambda y: ops.normalize(y, axis=-1)),
    _plain("softmax", ops.softmax),
    _plain("log_softmax", ops.log_softmax),
    _plain("argmax", lambda y: _with_steps(y, ops.one_hot(ops.argmax(y, axis=-1), FEATURES))),
    _plain("top_k", lambda y: ops.top_k(y, 2)[0]),
    _plain("sort", lambda y: ops.sort(y, axis=-1)),
    _plain("cumsum (features)", lambda y: ops.cumsum(y, axis=-1)),
    _plain("flip (features)", lambda y: ops.flip(y, axis=-1)),
    _plain("roll (features)", lambda y: ops.roll(y, 1, axis=-1)),
    _plain("concatenate", lambda y: ops.concatenate([y, _branch(y)], axis=-1)),
    _plain("stack", lambda y: ops.sum(ops.stack([y, _branch(y)], axis=2), axis=2)),
    _plain("split", lambda y: ops.multiply(*ops.split(y, 2, axis=-1))),
    _plain("take (features)", lambda y: ops.take(y, [0, 2], axis=-1)),
    _plain("pad (features)", lambda y: ops.pad(y, [(0, 0), (0, 0), (0, 2)])),
    _plain("repeat (features)", lambda y: ops.repeat(y, 2, axis=-1)),
    _plain("tile (features)", lambda y: ops.tile(y, (1, 1, 2))),
    _plain("matmul", lambda y: ops.matmul(y, MATRIX)),
    _plain("dot", lambda y: ops.dot(y, MATRIX)),
    _plain("einsum", lambda y: ops.einsum("btf,fg->btg", y, MATRIX)),
    _plain("expand_dims", lambda y: ops.squeeze(ops.expand_dims(y, -1), -1)),
    _plain("slicing", lambda y: y[..., 1:3] * y[:, :, :1]),
    _plain("layer_normalization", lambda y: y - ops.mean(y, axis=-1, keepdims=True)),
]
OF_TIME = [
    *_each(REDUCTIONS[:4], lambda f, y: f(y, axis=1), " (time)"),
    _plain("flip (time)", lambda y: ops.flip(y, axis=1)),
    _plain("last frame", lambda y: y[:, -1]),
    _fixed("reshape", lambda y: ops.reshape(y, (-1, FRAMES // 2, 2 * FEATURES))),
    _fixed("transpose", lambda y: ops.transpose(y, (0, 2, 1))),
    _fixed("swapaxes", lambda y: ops.swapaxes(y, 1, 2)),
    _fixed("cumsum (time)", lambda y: ops.cumsum(y, axis=1)),
    _fixed("diff", lambda y: y[:, 1:] - y[:, :-1]),
    _fixed("concatenate (time)", lambda y: ops.concatenate([y, y], axis=1)),
    _fixed("attention of products", lambda y: ops.matmul(ops.softmax(y @ _swapped(y)), y)),
]


def _swapped(y: Any) -> Any:
    return ops.transpose(y, (0, 2, 1))


ROWS = [*ELEMENTWISE, *OF_FEATURES, *OF_TIME]
