"""Cells that compute what a given cell computes, and return its gates or perturb its states.

A probe replaces a layer's cell in one run of Keras's own loop, so masks, direction, initial states
and backends are as in the layer. It works on a copy of the cell; Keras's LSTM and GRU cells are
copied into kgated's, which have the same weights and compute the same. This module repeats no
formula of a cell.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from kgated.cells import GRUCell, LSTMCell, MinimalCell
from kgated.keras_internals.graph import flatten_layers
from kgated.quantization_hook import QuantizationHook
from kgated.steps import Array, Function, Gates

Loop = Callable[..., tuple[Array, Array, list[Array]]]


def state_widths(cell: Any) -> dict[str, int]:
    """The widths of h and c of an LSTM cell, or of h of a GRU or SimpleRNN cell, by name."""
    names = ("h", "c") if isinstance(cell, LSTMCell) else ("h",)
    sizes = cell.state_size if isinstance(cell.state_size, list) else [cell.state_size]
    return dict(zip(names, sizes, strict=True))


def copy_cell(cell: Any) -> Any:
    """A copy of the cell with copies of its weights; Keras's LSTM and GRU cells become kgated's.

    Raises:
        TypeError: a cell that is not an LSTM, GRU, minimal or SimpleRNN cell of Keras or kgated.
    """
    # Options for building and training are left out: Keras may not be able to restore them.
    needless = ("activation", "initializer", "regularizer", "constraint")
    config = {k: v for k, v in cell.get_config().items() if not k.endswith(needless)}
    cell_class = type(cell)
    if cell_class is keras.layers.LSTMCell:
        cell_class = LSTMCell
    elif cell_class is keras.layers.GRUCell:
        cell_class, config = GRUCell, {**config, "update_gate": "state"}
    elif not isinstance(cell, LSTMCell | GRUCell | MinimalCell | keras.layers.SimpleRNNCell):
        raise TypeError(
            "`model` must have LSTM, PeepholeLSTM, GRU, MinGRU, MinLSTM or SimpleRNN cells only. "
            f"Received: {cell!r}"
        )
    copy = cell_class.from_config(config)
    copy.build((None, cell.kernel.shape[0]))
    copy.set_weights(cell.get_weights())
    for name in ("activation", "recurrent_activation"):
        if hasattr(cell, name):
            setattr(copy, name, getattr(cell, name))
    return copy


def split_columns(columns: Array, widths: dict[str, int]) -> dict[str, Array]:
    """Split the last columns of an array (…, N) into blocks by name, one for each of `widths`."""
    ends = np.cumsum(list(widths.values())) + columns.shape[-1] - sum(widths.values())
    spans = zip(ends - list(widths.values()), ends, strict=True)
    return {
        name: columns[..., int(start) : int(end)]
        for name, (start, end) in zip(widths, spans, strict=True)
    }


class _Recorder(QuantizationHook):
    """Records the values of a minimal cell by the names of its equations."""

    def __init__(self, values: dict[str, Array]) -> None:
        self._values = values

    def __call__(self, name: str, value: Array) -> Array:
        """The value itself."""
        self._values[name] = value
        if name == "f":  # the gates are normalized to the sum 1
            self._values["i"] = 1.0 - value
        return value


class RecordingCell:
    """The cell with all its gates and states concatenated as its output.

    `widths` holds the width of each gate and state in the output, by name and in order.
    """

    def __init__(self, cell: Any) -> None:
        self.cell = copy_cell(cell)
        self.state_size = self.cell.state_size
        self._values: dict[str, Any] = {}
        gates = ""
        if isinstance(self.cell, LSTMCell):
            gates = "ifgo"
            self._record_lstm()
        elif isinstance(self.cell, GRUCell):
            gates = "zrg"
            self._record_gru()
        elif isinstance(self.cell, MinimalCell):
            gates = f"{self.cell.gates}g"
            self.cell.hook = _Recorder(self._values)
        self.widths = dict.fromkeys(gates, self.cell.units) | state_widths(self.cell)

    def _recorded(self, name: str, function: Function) -> Function:
        def record(a: Array) -> Array:
            self._values[name] = function(a)
            return self._values[name]

        return record

    def _record_lstm(self) -> None:
        activations = self.cell._activations
        self.cell._activations = lambda *hook: Gates(
            *(
                self._recorded(name, f)
                for name, f in zip(Gates._fields, activations(*hook), strict=True)
            )
        )

    def _record_gru(self) -> None:
        sigmoid, mix = self.cell.recurrent_activation, self.cell._mix
        gates: list[Array] = []

        def gate(a: Array) -> Array:
            gates.append(sigmoid(a))
            return gates[-1]

        def mixed(z: Array, h: Array, g: Array, hook: QuantizationHook, of: str) -> Array:
            # z and r are computed in this order, in one call or in two.
            _, r = ops.split(ops.concatenate(gates, axis=-1), 2, axis=-1)
            gates.clear()
            self._values.update(z=z, r=r, g=g)
            return mix(z, h, g, hook, of)

        self.cell.recurrent_activation, self.cell._mix = gate, mixed

    def call(self, x: Array, states: list[Array]) -> tuple[Array, list[Array]]:
        """One step: inputs (B, F), states [h, …]; returns gates and states (B, W), states."""
        _, states = self.cell(x, states)
        self._values.update(zip(state_widths(self.cell), states, strict=True))
        return ops.concatenate([self._values[name] for name in self.widths], axis=-1), states

    __call__ = call


class PerturbedCell:
    """The cell with a perturbation added to each new state; the perturbation is part of the input.

    The perturbation of the cell state also changes the hidden state of the same step, so that the
    derivative with respect to it is the total derivative.
    """

    def __init__(self, cell: Any) -> None:
        self.cell = copy_cell(cell)
        self.state_size = self.cell.state_size
        self.widths = state_widths(self.cell)
        self._perturbation: dict[str, Array] = {}
        if isinstance(self.cell, LSTMCell):
            self._perturb_cell_state(copy_cell(cell))

    def _perturb_cell_state(self, untouched: Any) -> None:
        # `activation` is used for the candidate too, so the gates use that of another copy.
        self.cell._activations = untouched._activations
        self.cell.activation = lambda c: untouched.activation(c + self._perturbation["c"])
        if hasattr(untouched, "_output_cell_state"):
            self.cell._output_cell_state = lambda c, new: untouched._output_cell_state(
                c, new + self._perturbation["c"]
            )

    def call(self, inputs: Array, states: list[Array]) -> tuple[Array, list[Array]]:
        """One step: inputs (B, F + sum of `widths`), states; returns h', states."""
        self._perturbation = split_columns(inputs, self.widths)
        _, states = self.cell(inputs[..., : -sum(self.widths.values())], states)
        perturbations = self._perturbation.values()
        states = [
            state + perturbation for state, perturbation in zip(states, perturbations, strict=True)
        ]
        return states[0], states

    __call__ = call


def run(layer: keras.layers.RNN, probe: Any, x: Array, states: Any, mask: Any) -> Any:
    """Outputs (B, T, …) and states of the layer's loop over x (B, T, …), `probe` for its cell."""
    loop = keras.layers.RNN(
        probe,
        return_sequences=True,
        go_backwards=layer.go_backwards,
        unroll=layer.unroll,
        zero_output_for_mask=layer.zero_output_for_mask,
    )
    _, outputs, states = loop.inner_loop(x, states, mask)
    return outputs, states


def recurrent_layers(model: Any) -> list[keras.layers.RNN]:
    """The recurrent layers of a model, including those in wrappers, or the layer itself.

    Raises:
        ValueError: there is none.
    """
    layers = [layer for layer in flatten_layers(model) if isinstance(layer, keras.layers.RNN)]
    if not layers:
        raise ValueError(f"`model` must have a recurrent layer. Received: {model!r}")
    return layers


def _as_keras_calls_it(loop: Loop) -> Loop:
    def inner_loop(sequences: Array, initial_state: Any, mask: Any, training: bool = False) -> Any:
        return loop(sequences, initial_state, mask)

    return inner_loop


@contextmanager
def loops(replacements: dict[keras.layers.RNN, Loop]) -> Iterator[None]:
    """Replace the layers' loops over time within a `with` block; stateful layers keep their state.

    A loop takes x (B, T, …), states and mask; it returns the last output, all outputs, states.
    """
    layers = list(replacements)
    states = [(state, state.numpy()) for layer in layers for state in layer.states or []]
    for layer, loop in replacements.items():
        vars(layer)["inner_loop"] = _as_keras_calls_it(loop)
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["inner_loop"]
        for variable, value in states:
            variable.assign(value)
