"""A Keras model over sequences as a model of fixed shapes, with static recurrent layers."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops
from kgated_edge.format.manifest import LENGTHS

from kgated.deploy.sequence.inputs import Input, inputs_of, length_of
from kgated.deploy.sequence.padded_attention import call_padded, takes_padding
from kgated.deploy.sequence.padding import POOLING, PaddedTime, check_order, unsupported
from kgated.deploy.sequence.rnn import Lowering
from kgated.deploy.sequence.static_layer import StaticCalls, needs_static_call
from kgated.deploy.sequence.time_axis import Lengths
from kgated.errors import naming_layer
from kgated.framewise import operation_keeps_frames, row_of
from kgated.keras_internals.graph import LayerCalls, has_own, output_names, plain_name, replay


@dataclass(frozen=True)
class SequenceGraph:
    """A whole sequence in one call, with the attributes that a `StepModel` has.

    Attributes:
        model: a Keras model from {frames (B, T, F) or (B, T), one value (B, ...), and lengths (B,)
            int32 where it is padded} to {outputs (B, T, ...) or (B, ...)}.
        inputs: its inputs without the lengths, in the order of the Keras model.
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
        return tuple(x.name for x in self.inputs)

    @property
    def vocabulary(self) -> dict[str, int]:
        """The number of tokens of each input that takes tokens."""
        return {x.name: x.vocabulary for x in self.inputs if x.vocabulary is not None}


class _SequenceCalls(LayerCalls):
    """Calls each layer of a graph over all frames, with static recurrent layers.

    Args:
        lowering: of recurrent layers.
        time: which tensors have padded frames; None where sequences have one length.
    """

    def __init__(self, lowering: Lowering, time: PaddedTime | None) -> None:
        super().__init__()
        self._static, self._time = StaticCalls(lowering, set()), time

    def call_layer(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """As in `LayerCalls`."""
        if self._time is None or not self._time.timed(args, kwargs):
            return self._call(layer, args, kwargs)
        if not _is_own(layer) and takes_padding(layer, args):
            results, has_time = self._over_time(self._time, layer, args, kwargs)
            if has_time:
                self._time.mark(*keras.tree.flatten(results)[:1])
            return results
        results = self._padded(self._time, layer, args, kwargs)
        self._time.mark_results(layer, results)
        return results

    def _over_time(self, time: PaddedTime, layer: Any, args: Any, kwargs: Any) -> tuple[Any, bool]:
        """See `call_padded`."""
        return call_padded(time, layer, args, kwargs, lambda a, k: self._call(layer, a, k))

    def opens(self, layer: Any, *args: Any, **kwargs: Any) -> bool:
        """A layer of the user's own, where sequences are padded."""
        if self._time is None or not self._time.timed(args, kwargs):
            return False
        return _is_own(layer)

    def _call(self, layer: Any, args: Any, kwargs: Any) -> Any:
        if not needs_static_call(layer):
            return layer(*args, **kwargs)
        return self._static(layer, self._owner or layer.name, *args, **kwargs)

    def _padded(self, time: PaddedTime, layer: Any, args: Any, kwargs: Any) -> Any:
        if isinstance(layer, keras.layers.RNN | keras.layers.Bidirectional):
            check_order(layer)
            return self._call(layer, args, {**kwargs, "mask": time.combined(kwargs.get("mask"))})
        if isinstance(layer, keras.layers.SpectralNormalization):
            return self._padded(time, layer.layer, args, kwargs)
        if operation_keeps_frames(layer, *args):
            return self._call(layer, args, kwargs)
        if time.keeps_frames_independent(layer, args, kwargs):
            return time.without_infinities(layer, self._call(layer, args, kwargs))
        if _is_own(layer):
            raise unsupported(layer)  # what it computes is not what its base class computes
        if isinstance(layer, POOLING):
            return time.pool(layer, args[0], kwargs.get("mask"))
        inputs = args, {name: value for name, value in kwargs.items() if name != "mask"}
        tensors = [x for x in keras.tree.flatten(inputs) if isinstance(x, keras.KerasTensor)]
        time.check(layer, tensors)
        return time.without_infinities(layer, self._call(layer, args, kwargs))


def _is_own(layer: Any) -> bool:
    """Whether a layer's `call` is the user's, and no row is about its class."""
    row = row_of(layer)
    has_row = row is not None and row.kind is type(layer)
    return isinstance(layer, keras.Layer) and has_own("call", layer) and not has_row


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
        lowering: of recurrent layers.
        length: T; None: as the model's `Input` says.
        max_length: T of the padded sequences, whose lengths are then an input.
        batch: B, how many sequences at once.

    Raises:
        ValueError: both lengths or neither, one below 1.
        ConversionError: a layer that has no static graph, by name.
    """
    (inputs, _), size = inputs_of(model), length_of(model, length, max_length)
    tensors = {x.name: x.tensor(batch, size) for x in inputs}
    frames, time = list(tensors.values()), None
    if max_length is not None:
        lengths = keras.Input(batch_shape=(batch,), dtype="int32", name=LENGTHS.name)
        tensors[LENGTHS.name] = lengths
        time = PaddedTime(ops.expand_dims(lengths, 1) > ops.arange(size))
        time.mark(*(x for x, spec in zip(frames, inputs, strict=True) if spec.is_timed))
    calls = _SequenceCalls(lowering, time)
    results = keras.tree.flatten(replay(model, frames if len(frames) > 1 else frames[0], calls))
    if time is not None:
        timed = [len(y.shape) > 2 and time.has_time(y) for y in results]
    else:
        timed = _outputs_with_time(model, inputs, frames, size)
    taken = set(tensors)
    names = [plain_name(name, taken) for name in output_names(model)]
    single = [x.name for x in inputs if not x.is_timed]
    single += [name for name, has_time in zip(names, timed, strict=True) if not has_time]
    with naming_layer(model):
        static = keras.Model(tensors, dict(zip(names, results, strict=True)))
    return SequenceGraph(
        static, tuple(inputs), tuple(names), size, calls.owners, tuple(single), time is not None
    )


def _outputs_with_time(
    model: keras.Model, inputs: list[Input], frames: list[Any], size: int
) -> list[bool]:
    places = [n for n, spec in enumerate(inputs) if spec.is_timed]
    return Lengths(model, [x.shape for x in frames], size).has_time(places)
