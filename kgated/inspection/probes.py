"""Cells that compute what a given cell computes and let one look inside, or push its states.

A probe stands in for a layer's cell in one run of Keras's own loop, so masks, direction, initial
states and backends are as in the layer. It works on a copy of the cell; Keras's LSTM and GRU cells
are copied into ours, which hold the same weights and compute the same. No formula is written here.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from kgated.cells import GRUCell, LSTMCell, MinimalCell
from kgated.keras_graph import flatten_layers
from kgated.quantization_hook import QuantizationHook
from kgated.steps import Array, Function, Gates

Loop = Callable[..., tuple[Array, Array, list[Array]]]


def state_widths(cell: Any) -> dict[str, int]:
    """The widths of h and c of an LSTM cell, or of h of a GRU or SimpleRNN cell, by name."""
    names = ("h", "c") if isinstance(cell, LSTMCell) else ("h",)
    sizes = cell.state_size if isinstance(cell.state_size, list) else [cell.state_size]
    return dict(zip(names, sizes, strict=True))


def copy_cell(cell: Any) -> Any:
    """A copy of the cell with copies of its weights; Keras's LSTM and GRU cells become ours.

    Raises:
        TypeError: a cell that is no LSTM, GRU, minimal or SimpleRNN cell of Keras or kgated.
    """
    # What only building and training need is left out: it may be nothing that Keras can restore.
    needless = ("activation", "initializer", "regularizer", "constraint")
    config = {k: v for k, v in cell.get_config().items() if not k.endswith(needless)}
    copied = type(cell)
    if copied is keras.layers.LSTMCell:
        copied = LSTMCell
    elif copied is keras.layers.GRUCell:
        copied, config = GRUCell, {**config, "update_gate": "state"}
    elif not isinstance(cell, LSTMCell | GRUCell | MinimalCell | keras.layers.SimpleRNNCell):
        raise TypeError(
            f"`model` must have LSTM, PeepholeLSTM, GRU, MinGRU, MinLSTM or SimpleRNN cells only. Received: {cell!r}"
        )
    found = copied.from_config(config)
    found.build((None, cell.kernel.shape[0]))
    found.set_weights(cell.get_weights())
    for name in ("activation", "recurrent_activation"):
        if hasattr(cell, name):
            setattr(found, name, getattr(cell, name))
    return found


def apart(joined: Array, parts: dict[str, int]) -> dict[str, Array]:
    """What stands side by side in the last columns of `joined` (…, N), by name; widths given."""
    ends = np.cumsum(list(parts.values())) + joined.shape[-1] - sum(parts.values())
    columns = zip(ends - list(parts.values()), ends, strict=True)
    return {
        name: joined[..., int(start) : int(end)]
        for name, (start, end) in zip(parts, columns, strict=True)
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


class Watched:
    """The cell with everything that it computes at a step as its output, side by side.

    `parts` names what is in the output, in order, with the width of each.
    """

    def __init__(self, cell: Any) -> None:
        self.cell = copy_cell(cell)
        self.state_size = self.cell.state_size
        self._seen: dict[str, Any] = {}
        gates = ""
        if isinstance(self.cell, LSTMCell):
            gates = "ifgo"
            self._watch_lstm()
        elif isinstance(self.cell, GRUCell):
            gates = "zrg"
            self._watch_gru()
        elif isinstance(self.cell, MinimalCell):
            gates = f"{self.cell.gates}g"
            self.cell.hook = _Recorder(self._seen)
        self.parts = dict.fromkeys(gates, self.cell.units) | state_widths(self.cell)

    def _noting(self, name: str, function: Function) -> Function:
        def noted(a: Array) -> Array:
            self._seen[name] = function(a)
            return self._seen[name]

        return noted

    def _watch_lstm(self) -> None:
        activations = self.cell._activations
        self.cell._activations = lambda *hook: Gates(
            *(
                self._noting(name, f)
                for name, f in zip(Gates._fields, activations(*hook), strict=True)
            )
        )

    def _watch_gru(self) -> None:
        sigmoid, mix = self.cell.recurrent_activation, self.cell._mix
        gates: list[Array] = []

        def gate(a: Array) -> Array:
            gates.append(sigmoid(a))
            return gates[-1]

        def mixed(z: Array, h: Array, g: Array, hook: QuantizationHook, of: str) -> Array:
            # z and r are computed in this order, in one call or in two.
            _, r = ops.split(ops.concatenate(gates, axis=-1), 2, axis=-1)
            gates.clear()
            self._seen.update(z=z, r=r, g=g)
            return mix(z, h, g, hook, of)

        self.cell.recurrent_activation, self.cell._mix = gate, mixed

    def call(self, x: Array, states: list[Array]) -> tuple[Array, list[Array]]:
        """One step: inputs (B, F), states [h, …]; returns all parts (B, their widths), states."""
        _, states = self.cell(x, states)
        self._seen.update(zip(state_widths(self.cell), states, strict=True))
        return ops.concatenate([self._seen[name] for name in self.parts], axis=-1), states

    __call__ = call


class Pushed:
    """The cell with something added to each new state, which is a part of the step's input.

    What is added to the cell state is seen by all that reads the new cell state, the hidden state
    of the same step among them, so that a derivative with respect to it is the total one.
    """

    def __init__(self, cell: Any) -> None:
        self.cell = copy_cell(cell)
        self.state_size = self.cell.state_size
        self.parts = state_widths(self.cell)
        self._push: dict[str, Array] = {}
        if isinstance(self.cell, LSTMCell):
            self._push_cell_state(copy_cell(cell))

    def _push_cell_state(self, untouched: Any) -> None:
        # `activation` serves the candidate too, so the gates take theirs from another copy.
        self.cell._activations = untouched._activations
        self.cell.activation = lambda c: untouched.activation(c + self._push["c"])
        if hasattr(untouched, "_output_cell_state"):
            self.cell._output_cell_state = lambda c, new: untouched._output_cell_state(
                c, new + self._push["c"]
            )

    def call(self, inputs: Array, states: list[Array]) -> tuple[Array, list[Array]]:
        """One step: inputs (B, F + widths of `parts`), states; returns h', states."""
        self._push = apart(inputs, self.parts)
        _, states = self.cell(inputs[..., : -sum(self.parts.values())], states)
        pushes = self._push.values()
        states = [state + push for state, push in zip(states, pushes, strict=True)]
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
    """Every recurrent layer of a model, or of wrappers within it, or the layer itself.

    Raises:
        ValueError: there is none.
    """
    layers = [one for one in flatten_layers(model) if isinstance(one, keras.layers.RNN)]
    if not layers:
        raise ValueError(f"`model` must have a recurrent layer. Received: {model!r}")
    return layers


def _as_keras_calls_it(loop: Loop) -> Loop:
    def inner_loop(sequences: Array, initial_state: Any, mask: Any, training: bool = False) -> Any:
        return loop(sequences, initial_state, mask)

    return inner_loop


@contextmanager
def loops(replacements: dict[keras.layers.RNN, Loop]) -> Iterator[None]:
    """Run these layers with other loops over time meanwhile; stateful ones keep their state.

    A loop takes x (B, T, …), states and mask; it returns the last output, all outputs, states.
    """
    layers = list(replacements)
    states = [(one, one.numpy()) for layer in layers for one in layer.states or []]
    for layer, loop in replacements.items():
        vars(layer)["inner_loop"] = _as_keras_calls_it(loop)
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["inner_loop"]
        for variable, value in states:
            variable.assign(value)
