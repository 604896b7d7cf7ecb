"""A Keras model over sequences becomes one of fixed shapes, its recurrent layers written out."""

from dataclasses import dataclass, field
from typing import Any

import keras
from keras import ops
from kgated_edge.format.manifest import LENGTHS

from kgated.deploy.sequence.fused_lstm import FusedLSTM, check_whole
from kgated.deploy.sequence.inputs import Input, inputs_of, length_of
from kgated.deploy.sequence.rnn import Lowering, WrittenOut
from kgated.errors import ConversionError
from kgated.framewise import isolates_padding
from kgated.keras_graph import output_names, own, plain_name, replay
from kgated.steps import Array


@dataclass(frozen=True)
class SequenceGraph:
    """A whole sequence in one call, with the attributes that a `StepModel` has.

    Attributes:
        model: a Keras model from {frames (B, T, F) or (B, T), one value (B, ...), and lengths (B,)
            int32 where it is padded} to {outputs (B, T, ...) or (B, ...)}.
        inputs: what its inputs are, but for the lengths, in the order of the Keras model.
        outputs: the names of its results, in the order of the Keras model.
        frames_per_step: T.
        owners: by name of a layer in `model`, the layer of the Keras model that it stands for.
        single: names of inputs and outputs that have one value for the sequence.
        padded: whether sequences may be shorter than T.
    """

    model: keras.Model
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    frames_per_step: int
    owners: dict[str, str]
    single: tuple[str, ...]
    padded: bool
    states = counters = ()

    @property
    def frames(self) -> tuple[str, ...]:
        """The names of the inputs."""
        return tuple(one.name for one in self.inputs)

    @property
    def vocabulary(self) -> dict[str, int]:
        """By input how many tokens there are, where it takes tokens."""
        return {x.name: x.vocabulary for x in self.inputs if x.vocabulary is not None}


@dataclass
class _Writer:
    """Calls each layer of a graph over all frames, recurrent ones written out."""

    lowering: Lowering
    size: int  # T
    real: Array | None  # (B, T): which frames are no padding
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
        tensors = [x for x in keras.tree.flatten((args, kwargs)) if hasattr(x, "shape")]
        if self.real is None or not any(_has_time(x, self.size) for x in tensors):
            return layer(*args, **kwargs)
        if isinstance(layer, keras.layers.GlobalAveragePooling1D):
            return layer(*args, mask=self._valid(kwargs.get("mask")))
        if isinstance(layer, keras.layers.GlobalMaxPooling1D):
            beyond = ops.where(ops.expand_dims(self.real, -1), 0.0, -3.0e38)
            return layer(args[0] + beyond)
        self._check_padding(layer, tensors)
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
        if None in x.shape:
            raise ConversionError(
                f"layer `{owner}` reads a tensor of shape {x.shape}, whose size depends on values; "
                "compute it before the model"
            )
        initial = more or keras.tree.flatten(initial_state)
        initial = [state for state in initial if state is not None]
        mask = mask[0] if isinstance(mask, list | tuple) else mask
        valid = self._valid(mask) if _has_time(x, self.size) else mask
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

    def _check_padding(self, layer: Any, tensors: list[Any]) -> None:
        """Refuse a layer whose results for real frames may depend on padded ones."""
        rank = max(len(x.shape) for x in tensors)
        timed = [x for x in tensors if _has_time(x, self.size)]
        # Broadcasting adds axes to the operands of lower rank, and so moves their time axis.
        aligned = all(len(x.shape) == rank for x in timed)
        if not aligned or not isolates_padding(layer, rank):
            raise ConversionError(
                f"layer `{layer.name}` ({type(layer).__name__}) may see padding beside the real "
                "frames; convert with `length`, for sequences of one length, in place of "
                "`max_length`"
            )


def _merged(mode: str | None, there: Array, back: Array) -> Any:
    if mode == "concat":
        return ops.concatenate([there, back], axis=-1)
    if mode in ("sum", "ave"):
        return (there + back) / (1 if mode == "sum" else 2)
    return there * back if mode == "mul" else [there, back]


def sequence_model(
    model: keras.Model,
    lowering: Lowering,
    length: int | None = None,
    max_length: int | None = None,
    batch: int = 1,
) -> SequenceGraph:
    """`model` for sequences of one length, or of any up to a maximum, with the same weights.

    Args:
        model: functional or Sequential, from (batch, time, features) or (batch, time) tokens, and
            beside them vectors (batch, features) or other values without time.
        lowering: how recurrent layers are written out.
        length: T; None: as the model's `Input` says.
        max_length: T of the padded sequences, whose lengths are then an input.
        batch: B, how many sequences at once.

    Raises:
        ValueError: both lengths or neither, one below 1.
        ConversionError: a layer that can't be written out, by name.
    """
    (inputs, _), size = inputs_of(model), length_of(model, length, max_length)
    tensors = {one.name: one.tensor(batch, size) for one in inputs}
    placed, real = list(tensors.values()), None
    if max_length is not None:
        lengths = keras.Input(batch_shape=(batch,), dtype="int32", name=LENGTHS.name)
        tensors[LENGTHS.name] = lengths
        real = ops.expand_dims(lengths, 1) > ops.arange(size)
    writer = _Writer(lowering, size, real)
    found = keras.tree.flatten(replay(model, placed if len(placed) > 1 else placed[0], writer))
    taken = set(tensors)
    names = [plain_name(name, taken) for name in output_names(model)]
    outputs = dict(zip(names, found, strict=True))
    single = [one.name for one in inputs if not one.is_timed]
    single += [name for name, y in outputs.items() if not _has_time(y, size)]
    return SequenceGraph(
        keras.Model(tensors, outputs),
        tuple(inputs),
        tuple(names),
        size,
        writer.owners,
        tuple(single),
        real is not None,
    )


def _has_time(x: Any, size: int) -> bool:
    shape: tuple[int, ...] = getattr(x, "shape", ())
    return len(shape) > 2 and shape[1] == size
