"""A Keras model over sequences becomes one over a single frame, with its states in the open."""

from dataclasses import dataclass, field
from typing import Any

import keras
from keras import ops

from kgated import steps
from kgated.cells import GRUCell, LSTMCell
from kgated.deploy.graph import answers_each_frame, check_graph, replay
from kgated.errors import ConversionError
from kgated.layers import GRU, LSTM, GatedRNN

# Layers that act on each frame alone: called on (1, 1, F) they give what they give on (1, T, F).
PER_FRAME = (
    keras.layers.Activation,
    keras.layers.BatchNormalization,
    keras.layers.Dense,
    keras.layers.Dropout,
    keras.layers.Embedding,
    keras.layers.LayerNormalization,
    keras.layers.Masking,
    keras.layers.Normalization,
)
STOCK: dict[type, type[GatedRNN]] = {keras.layers.LSTM: LSTM, keras.layers.GRU: GRU}
# What Keras adds to a graph for the masks of Masking and Embedding; they touch the last axis alone.
MASK_OPERATIONS = ("NotEqual", "Any")
INPUT = "frame"
OUTPUT = "output"


@dataclass(frozen=True)
class StepModel:
    """One step of a streaming model.

    Attributes:
        model: a Keras model from {frame, states} to {output, states}, batch 1, names shared.
        states: the names of the states, in the order of the graph.
        vocabulary: how many tokens there are where the frame is a token, else None.
    """

    model: keras.Model
    states: tuple[str, ...]
    vocabulary: int | None

    def zeros(self) -> dict[str, Any]:
        """The state before the first frame."""
        shapes = {name: self.model.input[name].shape for name in self.states}
        return {name: ops.zeros(shape) for name, shape in shapes.items()}


class RecurrentStep(keras.layers.Layer):
    """One step of a recurrent layer's cell: [x (1, 1, F), *states] to [output, *new states].

    The output is (1, 1, U) with the layer's `return_sequences`, else (1, U).
    Where the frame is masked, the states stay, and the output is the old one, h, or zeros with the
    layer's `zero_output_for_mask`, as in `keras.layers.RNN`.
    """

    def __init__(self, layer: keras.layers.RNN) -> None:
        super().__init__(name=layer.name)
        self.cell = layer.cell
        self.zero_output_for_mask = layer.zero_output_for_mask
        self.return_sequences = layer.return_sequences
        self.built = True

    def call(self, inputs: list[Any], mask: list[Any] | None = None) -> list[Any]:
        """One step; see the class."""
        x, *old = inputs
        output, new = self._step(ops.squeeze(x, 1), old)
        if mask is not None and mask[0] is not None:  # (1, 1), and so fit to select (1, U)
            masked = ops.zeros_like(output) if self.zero_output_for_mask else old[0]
            output = ops.where(mask[0], output, masked)
            new = [ops.where(mask[0], n, o) for n, o in zip(new, old, strict=True)]
        return [ops.expand_dims(output, 1) if self.return_sequences else output, *new]

    def _step(self, x: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        if isinstance(self.cell, LSTMCell | GRUCell):
            return self.cell.step(x, states, affine=steps.affine_joined)
        nested = keras.tree.pack_sequence_as(self.cell.state_size, states)
        output, new = self.cell.call(x, nested)
        return output, keras.tree.flatten(new)

    def compute_mask(self, inputs: list[Any], mask: list[Any] | None = None) -> list[Any]:
        """An output per frame carries the frame's mask on; other outputs and states carry none."""
        carried = mask[0] if mask and self.return_sequences else None
        return [carried] + [None] * (len(inputs) - 1)


@dataclass
class _Streamer:
    """Calls each layer of a graph on one frame, and collects the states on the way."""

    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)

    def __call__(self, layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        if type(layer).__name__ in MASK_OPERATIONS:
            return layer(*args, **kwargs)
        if isinstance(layer, keras.layers.RNN):
            return self._recurrent(layer, *args, **kwargs)
        _check_per_frame(layer)
        return layer(*args)  # not its mask: Keras finds the step model's own

    def _recurrent(self, layer: keras.layers.RNN, x: Any, **kwargs: Any) -> Any:
        _check_streams(layer, kwargs)
        if type(layer) in STOCK:
            layer = STOCK[type(layer)].from_keras(layer)
        states = []
        for name, size in zip(
            _state_names(layer), keras.tree.flatten(layer.state_size), strict=True
        ):
            states.append(keras.Input(batch_shape=(1, size), name=name))
            self.inputs[name] = states[-1]
        output, *new = RecurrentStep(layer)([x, *states])
        self.outputs.update(zip(_state_names(layer), new, strict=True))
        return output


def _state_names(layer: keras.layers.RNN) -> list[str]:
    sizes = keras.tree.flatten(layer.state_size)
    if isinstance(layer.cell, LSTMCell | GRUCell):
        return [f"{layer.name}_{letter}" for letter in "hc"[: len(sizes)]]
    return [f"{layer.name}_state{k}" for k in range(len(sizes))]


def _check_per_frame(layer: keras.Layer) -> None:
    if not isinstance(layer, PER_FRAME):
        known = ", ".join(sorted(k.__name__ for k in PER_FRAME))
        raise ConversionError(
            f"layer `{layer.name}` ({type(layer).__name__}) can't stream one frame at a time; "
            f"streaming takes LSTM, PeepholeLSTM, GRU and {known}. Take the layer out of the model "
            "or compute it before or after the model"
        )
    axis = keras.tree.flatten(getattr(layer, "axis", -1))
    if not set(axis) <= {-1, len(layer.input.shape) - 1, None}:
        raise ConversionError(
            f"layer `{layer.name}` ({type(layer).__name__}) has `axis={axis}`, which may reach "
            "over time; build it with `axis=-1`"
        )


def _check_streams(layer: keras.layers.RNN, call: dict[str, Any]) -> None:
    reasons = {
        "`go_backwards=True` needs the whole sequence first; train it with `go_backwards=False`": (
            layer.go_backwards
        ),
        "`return_state=True` has no meaning for a stream, whose states are outputs already; build "
        "it with `return_state=False`": layer.return_state,
        "`initial_state` is part of the model; a stream starts from zeros or the state it is "
        "given, so build the model without it": call.get("initial_state") is not None,
    }
    for reason, holds in reasons.items():
        if holds:
            raise ConversionError(
                f"layer `{layer.name}` ({type(layer).__name__}) can't stream: {reason}"
            )


def _frame_input(model: keras.Model) -> tuple[Any, int | None]:
    """The step model's input, and the number of tokens where a frame is a token."""
    check_graph(model)
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ConversionError(
            f"model `{model.name}` has {len(model.inputs)} inputs and {len(model.outputs)} "
            "outputs; streaming takes a model with one of each"
        )
    shape = model.inputs[0].shape
    embedding = next((x for x in model.layers if isinstance(x, keras.layers.Embedding)), None)
    if len(shape) == 2 and embedding is not None:
        frame = keras.Input(batch_shape=(1,), dtype="int32", name=INPUT)
        return frame, embedding.input_dim
    if len(shape) < 3 or None in shape[2:]:
        raise ConversionError(
            f"model `{model.name}` takes inputs of shape {shape}; streaming needs (batch, time, "
            "features) with a fixed number of features, or (batch, time) tokens into an Embedding"
        )
    return keras.Input(batch_shape=(1, *shape[2:]), name=INPUT), None


def step_model(model: keras.Model) -> StepModel:
    """One step of `model`, with the same weights.

    Args:
        model: a functional or Sequential model from (batch, time, features) or (batch, time)
            tokens, of recurrent layers and layers that act on each frame alone.

    Returns:
        The step model, its frame (1, features) or (1,), each state (1, units).

    Raises:
        ConversionError: a layer that can't stream, by name, and the way out.
    """
    frame, vocabulary = _frame_input(model)
    streamer = _Streamer()
    output = replay(model, ops.expand_dims(frame, 1), streamer)
    if answers_each_frame(model):
        output = ops.squeeze(output, 1)
    return StepModel(
        keras.Model(
            {INPUT: frame, **streamer.inputs},
            {OUTPUT: output, **streamer.outputs},
        ),
        tuple(streamer.inputs),
        vocabulary,
    )
