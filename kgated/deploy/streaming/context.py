"""Calls the layers of a model on a block of frames, and collects their states."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
from keras import ops

from kgated.deploy.sequence.rnn import Lowering
from kgated.deploy.sequence.static_layer import StaticCalls, needs_static_call
from kgated.deploy.streaming.unsupported import check_axis, unsupported
from kgated.errors import ConversionError
from kgated.frame_trial import acts_on_frames_alone
from kgated.keras_internals.graph import LayerCalls, has_own, plain_name

# The operations on numbers with which Keras computes a mask.
MASK_STARTS = ("NotEqual", "OnesLike", "ZerosLike")
NO_FRAMES = (
    "streaming needs inputs (batch, time, features) with a fixed number of features, or (batch, "
    "time) tokens into an Embedding"
)


class LargerBlockError(ConversionError):
    """A layer needs a block of more frames: (frames per step)."""


class StreamContext(LayerCalls):
    """Calls each layer of a graph on one block of frames, and collects the states.

    Tensors that still have their time axis are marked; all others are results for the sequence up
    to now, and any layer may read them.

    Args:
        size: frames per step.
        handlers: by class of a layer, or by class name of an operation, what stands for it.
        affine: computes `x·W + h·R + b`.
        batch: streams side by side.
        lowering: of recurrent layers over a sequence: a block, or one inside of a frame.
        is_block: whether the caller chose the frames per step; then a step may have many results.
        only_last: whether it has the last of them only.

    Attributes:
        inputs, outputs: each state before and after the step.
        tokens: by identity of an input the number of tokens of its Embedding.
        counters: names of layers that count frames without end.
        result_counts: how many results each output has.
        results_left_out: how many of them are left out before each that a step has.
    """

    def __init__(
        self,
        size: int,
        handlers: "Handlers",
        affine: Callable[..., Any],
        batch: int,
        lowering: Lowering,
        is_block: bool = False,
        only_last: bool = False,
    ) -> None:
        super().__init__()
        self.is_block, self.only_last = is_block, only_last
        self.result_counts: set[int] = set()
        self.results_left_out = 0
        self.size, self.affine, self.batch, self.lowering = size, affine, batch, lowering
        self.inputs: dict[str, Any] = {}
        self.outputs: dict[str, Any] = {}
        self.tokens: dict[int, int] = {}
        self.counters: list[str] = []
        self._handlers = handlers
        self._timed: dict[int, Any] = {}
        self._token_blocks: set[int] = set()
        self._padding: dict[int, tuple[keras.Layer, int]] = {}
        self._names: set[str] = set()
        self._static = StaticCalls(lowering, self._names)
        self._copies: dict[Any, tuple[Any, Any]] = {}

    def call_layer(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """As in `LayerCalls`."""
        timed = self._timed_arguments(args, kwargs)
        if not timed:
            return self.call_whole(layer, *args, **kwargs)
        handler = self._handler(layer)
        if handler is None:
            return self._operation(layer, timed, *args, **kwargs)
        for x in timed:
            if not handler.reads_padding:
                self._check_not_padded(x)
            if id(x) in self._token_blocks and not handler.reads_tokens:
                raise unsupported(layer, NO_FRAMES)
        return handler.call(self, layer, *args, **kwargs)

    def call_whole(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a layer on whole sequences, or on what has no time axis."""
        if not needs_static_call(layer):
            return layer(*args, **kwargs)
        return self._static(layer, self._owner or layer.name, *args, **kwargs)

    def opens(self, layer: Any, *args: Any, **kwargs: Any) -> bool:
        """A layer of the user's own that reads the stream."""
        own = isinstance(layer, keras.Layer) and has_own("call", layer)
        return own and self._handler(layer) is None and bool(self._timed_arguments(args, kwargs))

    def more_results(self) -> list[Any]:
        """The states after the step."""
        return list(self.outputs.values())

    def copy_once(self, layer: Any, copy: Callable[[Any], Any]) -> Any:
        """The copy of a layer, the same one each time, so that its weights are stored once."""
        return self._copies.setdefault((id(layer), copy), (layer, copy(layer)))[1]

    def _timed_arguments(self, args: Any, kwargs: Any) -> list[Any]:
        inputs = args, {name: value for name, value in kwargs.items() if name != "mask"}
        return [x for x in keras.tree.flatten(inputs) if self.has_time(x)]

    def has_time(self, x: Any) -> bool:
        """Whether a tensor of the step still has its time axis."""
        return id(x) in self._timed

    def timed(self, x: Any) -> Any:
        """The tensor, marked as one with a time axis."""
        self._timed[id(x)] = x  # kept alive, so that no id is used again
        return x

    def block(self, x: Any) -> Any:
        """An input of the step with its time axis, marked."""
        if self.size == 1:
            x = TimeAxis((1, *x.shape[1:]), self.unique("with_time"))(x)
        if x.dtype == "int32":
            self._token_blocks.add(id(x))
        return self.timed(x)

    def padded(self, x: Any, layer: keras.Layer, left: int) -> Any:
        """A copy of a tensor, noted as having `left` frames of zeros before its stream."""
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
        """See `plain_name`: unique among the names in the step."""
        return plain_name(name, self._names)

    def require_multiple(self, x: Any, stride: int) -> None:
        """Start over with more frames per step where a block doesn't hold whole strides."""
        rate = self.size // x.shape[1]
        if x.shape[1] % stride:
            raise LargerBlockError(math.lcm(self.size, rate * stride))

    def result(self, model: keras.Model, x: Any) -> Any:
        """An output of the model as the result (B, *output) of a step, or results (B, r, *)."""
        self._check_not_padded(x)
        if not self.has_time(x):
            self.result_counts.add(1)
            return x
        count = int(x.shape[1])
        if self.is_block and count > 1 and not self.only_last:
            self.result_counts.add(count)
            return x
        self.result_counts.add(1)
        if self.is_block and count > 1:
            self.results_left_out = max(self.results_left_out, count - 1)
            return LastFrame(self.unique("last_frame"))(x)
        if count != 1:
            raise ConversionError(
                f"model `{model.name}` gives {x.shape[1]} results of one output for every "
                f"{self.size} frames, and fewer of another; make them two models"
            )
        return TimeAxis(x.shape[2:], self.unique("without_time"))(x)

    def _handler(self, layer: Any) -> "Handler | None":
        if not isinstance(layer, keras.Layer):
            return self._handlers.get(type(layer).__name__)
        if type(layer) in self._handlers:
            return self._handlers[type(layer)]
        if has_own("call", layer) and not isinstance(layer, keras.layers.RNN):
            return None
        return next((self._handlers[k] for k in type(layer).__mro__ if k in self._handlers), None)

    def _check_not_padded(self, x: Any) -> None:
        if id(x) in self._padding:
            raise unsupported(
                self._padding[id(x)][0],
                "its padding must be read by a convolution alone, that comes right after it",
            )

    def _operation(self, operation: Any, timed: list[Any], *args: Any, **kwargs: Any) -> Any:
        """Call an operation of `keras.ops` without a handler: on masks, or on each frame alone."""
        if isinstance(operation, keras.Layer):
            raise unsupported(operation)
        is_mask = type(operation).__name__ in MASK_STARTS or all(x.dtype == "bool" for x in timed)
        if is_mask and (output := operation(*args, **kwargs)).dtype == "bool":
            return self.timed(output)
        for x in timed:
            self._check_not_padded(x)
            if id(x) in self._token_blocks:
                raise unsupported(operation, NO_FRAMES)
        return self.by_trial(operation, *args, **kwargs)

    def by_trial(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        """Call an operation that acts on each frame alone; see `acts_on_frames_alone`."""
        leaves = keras.tree.flatten((args, kwargs))
        tensors = [x for x in leaves if isinstance(x, keras.KerasTensor)]
        alike = all(self.has_time(x) and x.shape[:2] == tensors[0].shape[:2] for x in tensors)
        if not alike or not acts_on_frames_alone(operation, args, kwargs, self.has_time):
            check_axis(operation, len(tensors[0].shape))
            raise unsupported(operation)
        results = operation(*args, **kwargs)
        for x in keras.tree.flatten(results):
            self.timed(x)
        return results


class TimeAxis(keras.layers.Layer):
    """Adds or removes a time axis of one frame: (B, *old) to (B, *shape)."""

    def __init__(self, shape: tuple[int, ...], name: str) -> None:
        super().__init__(name=name)
        self.shape = shape
        self.supports_masking = True  # takes a mask without a warning, and drops it
        self.built = True

    def call(self, x: Any) -> Any:
        """The same numbers; see the class."""
        return ops.reshape(x, (x.shape[0], *self.shape))

    def compute_mask(self, *_: Any) -> None:
        """None."""
        return


class LastFrame(keras.layers.Layer):
    """The last frame of a block: (B, n, ...) to (B, ...)."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.supports_masking = True  # takes a mask without a warning, and drops it
        self.built = True

    def call(self, x: Any) -> Any:
        """See the class."""
        return x[:, -1]

    def compute_mask(self, *_: Any) -> None:
        """None."""
        return


@dataclass(frozen=True)
class Handler:
    """The replacement of a layer, or an operation of `keras.ops`, in a step.

    Attributes:
        call: `call(context, layer, *args, **kwargs)` for `layer(*args, **kwargs)`.
        reads_padding: whether it takes frames of zeros before the stream.
        reads_tokens: whether it takes frames that are tokens.
    """

    call: Callable[..., Any]
    reads_padding: bool = False
    reads_tokens: bool = False


Handlers: TypeAlias = Mapping[type | str, Handler]
