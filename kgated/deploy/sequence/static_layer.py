"""Any layer with recurrent layers in it, at any depth, called on tensors of fixed shapes."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import ops

from kgated.deploy.sequence.fused_lstm import FusedLSTM, check_call
from kgated.deploy.sequence.rnn import Lowering, StaticRNN
from kgated.errors import ConversionError
from kgated.keras_internals.graph import flatten_layers, has_own, plain_name, takes_mask
from kgated.layers import to_gated
from kgated.steps import Array

# From x, initial states, mask and whether outputs are in time order to the output and the states.
Loop = Callable[..., list[Array]]


def is_recurrent(layer: Any) -> bool:
    """Whether a layer, or a layer inside of it, is recurrent."""
    if not isinstance(layer, keras.Layer):
        return False
    return any(isinstance(part, keras.layers.RNN) for part in flatten_layers(layer))


def needs_static_call(layer: Any) -> bool:
    """Whether Keras's own call of the layer is no graph for a device: it loops over time."""
    return isinstance(layer, keras.layers.TimeDistributed) or is_recurrent(layer)


class StaticCalls:
    """Calls layers by `StaticLayer`; keeps one copy of the weights of each recurrent layer.

    Args:
        lowering: of every recurrent layer.
        names: names of layers that are taken.
    """

    def __init__(self, lowering: Lowering, names: set[str]) -> None:
        self.lowering, self._names = lowering, names
        self._copies: dict[int, tuple[keras.layers.RNN, keras.layers.RNN]] = {}

    def __call__(self, layer: keras.Layer, owner: str, *args: Any, **kwargs: Any) -> Any:
        """The symbolic results of `layer(*args, **kwargs)`, on tensors of fixed shapes.

        Args:
            layer: built.
            owner: the layer of the model whose name the operators get.
            *args: of the call.
            **kwargs: of the call.

        Raises:
            ConversionError: a tensor's shape is not known; the fused operator does not compute
                what the layer computes.
        """
        leaves = keras.tree.flatten((args, kwargs))
        tensors = [x for x in leaves if isinstance(x, keras.KerasTensor)]
        for x in tensors:
            if None in x.shape:
                raise ConversionError(
                    f"layer `{owner}` reads a tensor of shape {x.shape}, whose size depends on "
                    "values; compute it before the model"
                )
        loops = {id(part): self._loop(part, owner) for part in _recurrent_parts(layer)}
        if self.lowering.name == "fused" and isinstance(layer, keras.layers.RNN):
            check_call(layer, owner, _flat(kwargs.get("initial_state")), kwargs.get("mask"))
        name = plain_name(layer.name, self._names)
        return StaticLayer(layer, loops, (args, kwargs), name)(tensors)

    def _loop(self, layer: keras.layers.RNN, owner: str) -> Loop:
        if has_own("inner_loop", layer):
            raise ConversionError(
                f"layer `{layer.name}` ({type(layer).__name__}) has an `inner_loop` of its own, "
                "which Keras's loop over a cell can't replace; write the step as a cell"
            )
        _, gated = self._copies.setdefault(id(layer), (layer, to_gated(layer)))
        if self.lowering.name != "fused":
            return StaticRNN(gated, self.lowering, owner)
        fused = FusedLSTM(gated, owner)

        def loop(
            x: Array, initial: Any = None, valid: Any = None, time_order: bool = False
        ) -> list[Array]:
            check_call(layer, owner, initial or [], valid)
            return [fused.run(x, time_order)]

        return loop


class StaticLayer(keras.layers.Layer):
    """A layer with the calls of all recurrent layers in it replaced: tensors to its results.

    `TimeDistributed` layers take their frames as a batch.

    Args:
        layer: the layer.
        loops: by identity of a recurrent layer in it, what runs in its place.
        arguments: (args, kwargs) of the symbolic call.
        name: its own name.
    """

    def __init__(
        self, layer: keras.Layer, loops: dict[int, Loop], arguments: tuple[Any, Any], name: str
    ) -> None:
        super().__init__(name=name)
        self.layer = layer
        self.copies = [x.layer for x in loops.values() if isinstance(x, StaticRNN)]
        # Functions, so that Keras does not take what they hold for parts of this layer.
        self._loop_of: Callable[[Any], Loop] = lambda part: loops[id(part)]
        self._arguments: Callable[[list[Any]], tuple[Any, Any]] = lambda tensors: _filled(
            arguments, tensors
        )
        self.supports_masking = self.built = True

    def call(self, tensors: list[Array]) -> Any:
        """The layer's results; see the class."""
        args, kwargs = self._arguments(tensors)
        with self._replaced_calls():
            return self.layer(*args, **kwargs)

    def compute_output_spec(self, tensors: list[Any]) -> Any:
        """The layer's own, which needs neither TensorFlow nor the steps."""
        args, kwargs = self._arguments(tensors)
        return self.layer.compute_output_spec(*args, **kwargs)

    def compute_mask(self, *_: Any) -> None:
        """None: the nodes of a graph hold the masks that they take."""
        return

    @contextlib.contextmanager
    def _replaced_calls(self) -> Iterator[None]:
        replaced = []
        for part in flatten_layers(self.layer):
            for name, function in self._replacements(part).items():
                vars(part)[name] = function
                replaced.append((part, name))
        try:
            yield
        finally:
            for part, name in replaced:
                del vars(part)[name]

    def _replacements(self, part: keras.Layer) -> dict[str, Callable[..., Any]]:
        """The functions that replace methods of a layer, by the name of the method."""
        if isinstance(part, keras.layers.RNN):
            if has_own("call", part):
                return {"inner_loop": _inner_loop(part, self._loop_of(part))}
            return {"call": _rnn_call(part, self._loop_of(part))}
        if has_own("call", part):
            return {}  # it calls the layers inside of it, and those are replaced
        if isinstance(part, keras.layers.Bidirectional):
            pair = self._loop_of(part.forward_layer), self._loop_of(part.backward_layer)
            return {"call": _bidirectional_call(part, *pair)}
        if isinstance(part, keras.layers.TimeDistributed):
            return {"call": _time_distributed_call(part)}
        return {}


def _recurrent_parts(layer: keras.Layer) -> list[keras.layers.RNN]:
    return [part for part in flatten_layers(layer) if isinstance(part, keras.layers.RNN)]


def _flat(states: Any) -> list[Array]:
    return [state for state in keras.tree.flatten(states) if state is not None]


def _filled(arguments: tuple[Any, Any], tensors: list[Any]) -> tuple[Any, Any]:
    """(args, kwargs) with tensors in place of the symbolic ones, in their order."""
    remaining = iter(tensors)

    def fill(leaf: Any) -> Any:
        return next(remaining) if isinstance(leaf, keras.KerasTensor) else leaf

    args, kwargs = keras.tree.map_structure(fill, arguments)
    return args, kwargs


def _rnn_call(layer: keras.layers.RNN, loop: Loop) -> Callable[..., Any]:
    """Replaces `keras.layers.RNN.call`."""

    def call(sequences: Array, initial_state: Any = None, mask: Any = None, **_: Any) -> Any:
        output, *states = loop(sequences, _flat(initial_state), mask)
        return (output, *states) if layer.return_state else output

    return call


def _inner_loop(layer: keras.layers.RNN, loop: Loop) -> Callable[..., Any]:
    """Replaces `keras.layers.RNN.inner_loop`, for layers that override `call`."""

    def inner_loop(sequences: Array, initial_state: Any, mask: Any, training: bool = False) -> Any:
        output, *states = loop(sequences, _flat(initial_state), mask)
        last = output[:, -1] if layer.return_sequences else output
        return last, output, keras.tree.pack_sequence_as(initial_state, states)

    return inner_loop


def _bidirectional_call(
    layer: keras.layers.Bidirectional, forward: Loop, backward: Loop
) -> Callable[..., Any]:
    """Replaces `keras.layers.Bidirectional.call`."""

    def call(sequences: Array, initial_state: Any = None, mask: Any = None, **_: Any) -> Any:
        initial = _flat(initial_state)
        half = len(initial) // 2
        y, *states = forward(sequences, initial[:half], mask)
        # Keras reverses the outputs of the second layer, whichever way that goes.
        reversed_order = layer.backward_layer.go_backwards
        y_back, *more = backward(sequences, initial[half:], mask, time_order=reversed_order)
        if layer.return_sequences and not reversed_order:
            y_back = y_back[:, ::-1]
        output = _merged(layer.merge_mode, y, y_back)
        if not layer.return_state:
            return output
        return (*(output if layer.merge_mode is None else [output]), *states, *more)

    return call


def _merged(mode: str | None, forward: Array, backward: Array) -> Any:
    if mode == "concat":
        return ops.concatenate([forward, backward], axis=-1)
    if mode in ("sum", "ave"):
        return (forward + backward) / (1 if mode == "sum" else 2)
    return forward * backward if mode == "mul" else (forward, backward)


def _time_distributed_call(layer: keras.layers.TimeDistributed) -> Callable[..., Any]:
    """Replaces `keras.layers.TimeDistributed.call`: the frames of all rows are one batch."""

    def call(inputs: Array, training: Any = None, mask: Any = None) -> Any:
        rows, count = int(inputs.shape[0]), int(inputs.shape[1])

        def as_batch(x: Array) -> Array:
            return ops.reshape(x, (rows * count, *x.shape[2:]))

        options = {}
        if mask is not None and takes_mask(layer.layer):
            options["mask"] = as_batch(mask)
        results = layer.layer(as_batch(inputs), **options)
        return keras.tree.map_structure(
            lambda y: ops.reshape(y, (rows, count, *y.shape[1:])), results
        )

    return call
