"""Calls the layers of a model on a block of frames, and collects their states on the way."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import keras
from keras import ops

from kgated.deploy.streaming.unsupported import refusal
from kgated.errors import ConversionError
from kgated.keras_graph import own, plain_name

# The operations on numbers that Keras begins a mask with.
MASK_STARTS = ("NotEqual", "OnesLike", "ZerosLike")
NO_FRAMES = (
    "streaming needs inputs (batch, time, features) with a fixed number of features, or (batch, "
    "time) tokens into an Embedding"
)


class LargerBlockError(Exception):
    """A layer needs a block of more frames: (frames per step)."""


@dataclass
class Walk:
    """Calls each layer of a graph on one block of frames, and collects the states on the way.

    Tensors that still have their time axis are marked; all others are results for the sequence up
    to now, on which any layer may act.

    Attributes:
        size: frames per step.
        handlers: by class of a layer, or by class name of an operation, what stands for it.
        affine: computes `x·W + h·R + b`.
        batch: streams side by side.
        inputs, outputs: each state before and after the step.
        tokens: by identity of an input the number of tokens that its Embedding knows.
        counters: names of layers that count frames for ever.
        owners: by name of a layer of the step, the layer of the Keras model that it stands for.
    """

    size: int
    handlers: "Handlers"
    affine: Callable[..., Any]
    batch: int = 1
    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    tokens: dict[int, int] = field(default_factory=dict)
    counters: list[str] = field(default_factory=list)
    owners: dict[str, str] = field(default_factory=dict)
    _timed: dict[int, Any] = field(default_factory=dict)
    _padding: dict[int, tuple[keras.Layer, int]] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)

    def __call__(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """What a layer of the graph gives on this block."""
        found = self._call(layer, *args, **kwargs)
        own(self.owners, layer.name, [*keras.tree.flatten(found), *self.outputs.values()])
        return found

    def _call(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        mine = {name: value for name, value in kwargs.items() if name != "mask"}
        timed = [x for x in keras.tree.flatten((args, mine)) if self.has_time(x)]
        if not timed:
            if isinstance(layer, keras.layers.RNN | keras.layers.Bidirectional):
                raise refusal(layer, "it reads another sequence than the stream")
            return layer(*args, **kwargs)
        handler = self._handler(layer)
        if handler is None:
            return self._mask_operation(layer, timed, *args, **kwargs)
        for x in timed:
            if not handler.reads_padding:
                self._check_not_padded(x)
            if x.dtype == "int32" and not handler.reads_tokens:
                raise refusal(layer, NO_FRAMES)
        return handler.call(self, layer, *args, **kwargs)

    def has_time(self, x: Any) -> bool:
        """Whether a tensor of the step still has its time axis."""
        return id(x) in self._timed

    def timed(self, x: Any) -> Any:
        """The tensor, marked as one with a time axis."""
        self._timed[id(x)] = x  # kept alive, so that its identity stays its own
        return x

    def block(self, x: Any) -> Any:
        """An input of the step with its time axis, marked."""
        if self.size == 1:
            x = TimeAxis((1, *x.shape[1:]), self.unique("with_time"))(x)
        return self.timed(x)

    def padded(self, x: Any, layer: keras.Layer, left: int) -> Any:
        """A copy of a tensor that counts as having `left` frames of zeros before its stream."""
        copy = self.timed(keras.layers.Identity(name=self.unique(f"{layer.name}_frames"))(x))
        self._padding[id(copy)] = layer, left
        return copy

    def padding(self, x: Any) -> int:
        """How many frames of zeros were put before the stream."""
        return self._padding[id(x)][1] if id(x) in self._padding else 0

    def state(self, name: str, *shape: int) -> tuple[str, Any]:
        """A new state (B, *shape): its name, made unique, and its value before the step."""
        unique = self.unique(name)
        self.inputs[unique] = keras.Input(batch_shape=(self.batch, *shape), name=unique)
        return unique, self.inputs[unique]

    def unique(self, name: str) -> str:
        """The name, spelled so that every tool takes it, and with a number if it is taken."""
        return plain_name(name, self._names)

    def require_multiple(self, x: Any, stride: int) -> None:
        """Start over with more frames per step where a block doesn't hold whole strides."""
        rate = self.size // x.shape[1]
        if x.shape[1] % stride:
            raise LargerBlockError(math.lcm(self.size, rate * stride))

    def result(self, model: keras.Model, x: Any) -> Any:
        """An output of the model as the result (B, *output) of a step."""
        self._check_not_padded(x)
        if not self.has_time(x):
            return x
        if x.shape[1] != 1:
            raise ConversionError(
                f"model `{model.name}` gives {x.shape[1]} results of one output for every "
                f"{self.size} frames, and fewer of another; make them two models"
            )
        return TimeAxis(x.shape[2:], self.unique("without_time"))(x)

    def _handler(self, layer: Any) -> "Handler | None":
        if not isinstance(layer, keras.Layer):
            return self.handlers.get(type(layer).__name__)
        return next((self.handlers[k] for k in type(layer).__mro__ if k in self.handlers), None)

    def _check_not_padded(self, x: Any) -> None:
        if id(x) in self._padding:
            raise refusal(
                self._padding[id(x)][0],
                "its padding must be read by a convolution alone, that comes right after it",
            )

    def _mask_operation(self, operation: Any, timed: list[Any], *args: Any, **kwargs: Any) -> Any:
        """What Keras adds to a graph for masks: operations that end in boolean tensors."""
        is_mask = type(operation).__name__ in MASK_STARTS or all(x.dtype == "bool" for x in timed)
        if isinstance(operation, keras.Layer) or not is_mask:
            raise refusal(operation)
        output = operation(*args, **kwargs)
        if output.dtype != "bool":
            raise refusal(operation)
        return self.timed(output)


class TimeAxis(keras.layers.Layer):
    """Puts a time axis of one frame in, or takes it away: (B, *old) to (B, *shape)."""

    def __init__(self, shape: tuple[int, ...], name: str) -> None:
        super().__init__(name=name)
        self.shape = shape
        self.supports_masking = True  # takes it in silence and drops it
        self.built = True

    def call(self, x: Any) -> Any:
        """The same numbers; see the class."""
        return ops.reshape(x, (x.shape[0], *self.shape))

    def compute_mask(self, *_: Any) -> None:
        """None."""
        return


@dataclass(frozen=True)
class Handler:
    """What stands for a layer, or an operation of `keras.ops`, in a step.

    Attributes:
        call: `call(walk, layer, *args, **kwargs)` for `layer(*args, **kwargs)`.
        reads_padding: whether it knows what to do with frames of zeros before the stream.
        reads_tokens: whether it takes frames that are tokens.
    """

    call: Callable[..., Any]
    reads_padding: bool = False
    reads_tokens: bool = False


Handlers: TypeAlias = Mapping[type | str, Handler]
