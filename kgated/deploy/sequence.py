"""A Keras model over sequences becomes one of fixed shapes, its recurrent layers written out."""

from dataclasses import dataclass, field
from typing import Any

import keras
from keras import ops
from kgated_edge.manifest import LENGTHS

from kgated.deploy.fused import FusedLSTM, check_whole
from kgated.deploy.graph import check_graph, own, replay
from kgated.deploy.written_out import Lowering, WrittenOut
from kgated.errors import ConversionError
from kgated.steps import Array

INPUT, OUTPUT = "frames", "output"

# Layers that let no frame see another, so that padding behind the real frames stays apart.
FRAME_BY_FRAME = (
    keras.layers.Activation,
    keras.layers.Add,
    keras.layers.BatchNormalization,
    keras.layers.Concatenate,
    keras.layers.Dense,
    keras.layers.Dropout,
    keras.layers.Embedding,
    keras.layers.LayerNormalization,
    keras.layers.Masking,
    keras.layers.Normalization,
    keras.layers.ReLU,
    keras.layers.TimeDistributed,
)


@dataclass(frozen=True)
class SequenceGraph:
    """A whole sequence in one call, with the attributes that a `StepModel` has.

    Attributes:
        model: a Keras model from {frames (1, T, F) or (1, T), and lengths (1,) int32 where it is
            padded} to {output (1, ...)}.
        frames_per_step: T.
        vocabulary: by input how many tokens there are, where a frame is a token.
        owners: by name of a layer in `model`, the layer of the Keras model that it stands for.
        each_frame: whether the output has a result per frame.
        padded: whether sequences may be shorter than T.
    """

    model: keras.Model
    frames_per_step: int
    vocabulary: dict[str, int]
    owners: dict[str, str]
    each_frame: bool
    padded: bool
    frames = (INPUT,)
    outputs = (OUTPUT,)
    states = counters = ()


@dataclass
class _Writer:
    """Calls each layer of a graph over all frames, recurrent ones written out."""

    lowering: Lowering
    real: Array | None  # (1, T): which frames are no padding
    owners: dict[str, str] = field(default_factory=dict)

    def __call__(self, layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        found = self._call(layer, *args, **kwargs)
        own(self.owners, layer.name, keras.tree.flatten(found))
        return found

    def _call(self, layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, keras.layers.RNN):
            return self._recurrent(layer, layer.name, layer.name, *args, **kwargs)
        if isinstance(layer, keras.layers.Bidirectional):
            return self._both_ways(layer, *args, **kwargs)
        if self.real is None:
            return layer(*args, **kwargs)
        if isinstance(layer, keras.layers.GlobalAveragePooling1D):
            return layer(*args, mask=self._valid(kwargs.get("mask")))
        if isinstance(layer, keras.layers.GlobalMaxPooling1D):
            beyond = ops.where(ops.expand_dims(self.real, -1), 0.0, -3.0e38)
            return layer(args[0] + beyond)
        _check_padding(layer)
        return layer(*args, **kwargs)

    def _recurrent(
        self,
        layer: keras.layers.RNN,
        owner: str,
        name: str,
        x: Any,
        mask: Any = None,
        initial_state: Any = None,
        in_time: bool = False,
        **_: Any,
    ) -> Any:
        x, *more = x if isinstance(x, list | tuple) else [x]
        initial = more or keras.tree.flatten(initial_state)
        initial = [state for state in initial if state is not None]
        valid = self._valid(mask[0] if isinstance(mask, list | tuple) else mask)
        if self.lowering.name == "fused":
            check_whole(layer, name, initial, valid)
            return FusedLSTM(layer, owner, name, in_time)(x)
        written = WrittenOut(layer, self.lowering, owner, name, in_time)
        return written([x, *initial]) if valid is None else written([x, *initial], valid=valid)

    def _both_ways(
        self, layer: keras.layers.Bidirectional, x: Any, mask: Any = None, **kwargs: Any
    ) -> Any:
        if layer.return_state or kwargs.get("initial_state") is not None:
            raise ConversionError(
                f"layer `{layer.name}` (Bidirectional) has `return_state` or `initial_state`; "
                "build it without, or from two layers, one with `go_backwards=True`"
            )
        ways = layer.forward_layer, layer.backward_layer
        there, back = (
            self._recurrent(way, layer.name, f"{layer.name}_{way.name}", x, mask, in_time=True)
            for way in ways
        )
        return _merged(layer.merge_mode, there, back)

    def _valid(self, mask: Any) -> Any:
        if mask is None or self.real is None:
            return self.real if mask is None else mask
        return ops.logical_and(mask, self.real)


def _merged(mode: str | None, there: Array, back: Array) -> Any:
    if mode == "concat":
        return ops.concatenate([there, back], axis=-1)
    if mode in ("sum", "ave"):
        return (there + back) / (1 if mode == "sum" else 2)
    return there * back if mode == "mul" else [there, back]


def _check_padding(layer: keras.Layer) -> None:
    masks = ("NotEqual", "Any")  # what Keras puts into a graph to compute a mask
    if not isinstance(layer, FRAME_BY_FRAME) and type(layer).__name__ not in masks:
        raise ConversionError(
            f"layer `{layer.name}` ({type(layer).__name__}) may see padding beside the real "
            "frames; convert with `length`, for sequences of one length, in place of `max_length`"
        )


def sequence_model(
    model: keras.Model,
    lowering: Lowering,
    length: int | None = None,
    max_length: int | None = None,
) -> SequenceGraph:
    """`model` for sequences of one length, or of any up to a maximum, with the same weights.

    Args:
        model: functional or Sequential, from (batch, time, features) or (batch, time) tokens.
        lowering: how recurrent layers are written out.
        length: T; None: as the model's `Input` says.
        max_length: T of the padded sequences, whose lengths are then an input.

    Raises:
        ValueError: both lengths or neither, one below 1.
        ConversionError: a layer that can't be written out, by name.
    """
    first = _only_input(model)
    size, padded = length_of(model, length, max_length), max_length is not None
    tokens = next((x for x in model.layers if isinstance(x, keras.layers.Embedding)), None)
    is_token = len(first.shape) == 2 and tokens is not None
    dtype = "int32" if is_token else "float32"
    frames = keras.Input(batch_shape=(1, size, *first.shape[2:]), dtype=dtype, name=INPUT)
    inputs, real = {INPUT: frames}, None
    if padded:
        inputs[LENGTHS.name] = keras.Input(batch_shape=(1,), dtype="int32", name=LENGTHS.name)
        real = ops.expand_dims(inputs[LENGTHS.name], 1) > ops.arange(size)
    writer = _Writer(lowering, real)
    output = replay(model, frames, writer)
    return SequenceGraph(
        keras.Model(inputs, {OUTPUT: output}),
        size,
        {INPUT: tokens.input_dim} if is_token and tokens is not None else {},
        writer.owners,
        len(output.shape) > 2 and output.shape[1] == size,
        padded,
    )


def _only_input(model: keras.Model) -> Any:
    check_graph(model)
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ConversionError(
            f"model `{model.name}` has {len(model.inputs)} inputs and {len(model.outputs)} "
            "outputs; mode='sequence' takes a model with one of each"
        )
    first = model.inputs[0]
    if len(first.shape) < 2 or None in first.shape[2:]:
        raise ConversionError(
            f"model `{model.name}` takes inputs of shape {first.shape}; needed is (batch, time, "
            "features) with a fixed number of features, or (batch, time) of tokens"
        )
    return first


def length_of(model: keras.Model, length: int | None, max_length: int | None) -> int:
    """T: `length` or `max_length`, or what the model's `Input` says.

    Raises:
        ValueError: both are given, none is known, or it is no integer of at least 1.
    """
    if length is not None and max_length is not None:
        raise ValueError("`length` and `max_length` exclude each other. Received both")
    name, size = ("max_length", max_length) if length is None else ("length", length)
    if size is None:
        name, size = "length", model.inputs[0].shape[1]
    if size is None:
        raise ValueError(
            "the model takes sequences of any length: give `length`, or `max_length` for "
            "sequences that may be shorter"
        )
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ValueError(f"`{name}` must be an integer of at least 1. Received: {size!r}")
    return size
