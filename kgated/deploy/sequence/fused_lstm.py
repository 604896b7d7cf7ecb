"""An LSTM layer as one builtin operator: which layers it can compute, and its marker in a graph.

The converter does not make that operator from Keras 3. So the graph has a function in place of the
layer, which the converter keeps whole, with the weights as operands; `write_fused` replaces it by
the builtin operator.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from kgated.cells import LSTMCell, PeepholeLSTMCell
from kgated.deploy.tflite.layer_table import scope_name
from kgated.deploy.tflite.lstm_operator import MARKER, SLOTS, Slot
from kgated.errors import ConversionError
from kgated.keras_internals.tensorflow_private import custom_operator
from kgated.layers import LSTM, PeepholeLSTM

GATES = "ifgo"


class FusedLSTM(keras.layers.Layer):
    """Stands for a recurrent layer in a graph to convert: (B, T, F) to (B, T, P) or (B, P).

    It computes zeros; `write_fused` puts the operator there after the conversion. B must be fixed:
    the state of the operator is in tensors of the file.

    Args:
        layer: `kgated.LSTM`, `kgated.PeepholeLSTM` or `keras.layers.LSTM`, built.
        owner: the layer of the model that it stands for; the layer itself by default.
        name: its own name; the layer's by default.
        time_order: whether outputs of a layer with `go_backwards` are in the order of the frames.

    Raises:
        ConversionError: the kernel does not compute what the layer computes; see `check_fusable`.
    """

    def __init__(
        self,
        layer: keras.layers.RNN,
        owner: str | None = None,
        name: str | None = None,
        time_order: bool = False,
    ) -> None:
        super().__init__(name=name or layer.name)
        self.owner, self.time_order = owner or layer.name, time_order
        if type(layer) is keras.layers.LSTM:
            layer = LSTM.from_keras(layer)
        check_fusable(layer)
        self.return_sequences, self.go_backwards = layer.return_sequences, layer.go_backwards
        self.output_size = layer.cell.output_size
        self._operands = operands(layer.cell)
        self.built = True

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(B, T, P) or (B, P); the graph is built without TensorFlow where need be."""
        time = shape[1:2] if self.return_sequences else ()
        return (shape[0], *time, self.output_size)

    def call(self, x: Any) -> Any:
        """The layer's output, once the operator is written; see the class."""
        return self.run(x, self.time_order)

    def run(self, x: Any, time_order: bool) -> Any:
        """As `call`, in either order of the outputs."""
        x = _reversed(x) if self.go_backwards else x
        outputs = _marker(self.owner, list(self._operands), self.output_size)(
            x, *self._operands.values()
        )
        if not self.return_sequences:
            return outputs[:, -1]
        return _reversed(outputs) if self.go_backwards and time_order else outputs


def _reversed(x: Any) -> Any:
    """The last frame first, by the operator that has integer kernels: not REVERSE_V2."""
    return x[:, ::-1]


def check_fusable(layer: keras.layers.RNN) -> None:
    """Refuse a layer that the builtin LSTM operator does not compute.

    Raises:
        ConversionError: by the layer's name, with the reason and a remedy.
    """
    cell = layer.cell
    if not isinstance(layer, LSTM | PeepholeLSTM):
        reasons = {"no builtin operator computes this cell": True}
    else:
        tanh = keras.activations.get(cell.activation) is keras.activations.tanh
        sigmoid = keras.activations.get(cell.recurrent_activation) is keras.activations.sigmoid
        reasons = {
            '`activation` must be "tanh"': not tanh,
            '`recurrent_activation` must be "sigmoid"': not sigmoid,
            '`peephole="full"`; the operator has diagonal peepholes': (
                getattr(cell, "peephole", "diagonal") != "diagonal"
            ),
            '`output_peephole="previous"`; the operator\'s output gate sees the current cell': (
                getattr(cell, "output_peephole", "current") != "current"
            ),
            "`stateful=True`; the operator starts each sequence from zeros": layer.stateful,
            "`return_state=True`; the operator returns its outputs alone": layer.return_state,
        }
    for reason, holds in reasons.items():
        if holds:
            raise _unsupported(layer, layer.name, reason)


def check_call(layer: keras.layers.RNN, name: str, initial: list[Any], valid: Any) -> None:
    """Refuse a call that the operator can't compute: with a mask, or an initial state.

    Raises:
        ConversionError: by the layer's name, with the remedy.
    """
    if initial:
        raise _unsupported(layer, name, "`initial_state`; the operator starts from zeros")
    if valid is not None:
        reason = "a mask; the operator has none, so it takes `length` and no Masking"
        raise _unsupported(layer, name, reason)


def _unsupported(layer: keras.layers.RNN, name: str, reason: str) -> ConversionError:
    return ConversionError(
        f"layer `{name}` ({type(layer).__name__}) can't become one fused operator: {reason}. "
        'Convert with `lowering="auto"` or `lowering="unrolled"`'
    )


def operands(cell: LSTMCell) -> dict[Slot, np.ndarray]:
    """The operator's constant inputs: per gate, rows are units, as the kernel reads them."""
    arrays: dict[Slot, np.ndarray] = {}
    gates = GATES[1:] if cell.coupled_gates else GATES

    def put(kind: str, weight: Any, names: str = gates) -> None:
        parts = np.split(np.asarray(ops.convert_to_numpy(weight), np.float32), len(names), axis=-1)
        arrays.update({SLOTS[kind, n]: part.T for n, part in zip(names, parts, strict=True)})

    put("input", cell.kernel)
    put("recurrent", cell.recurrent_kernel)
    put("bias", cell.bias if cell.use_bias else np.zeros(len(gates) * cell.units))
    if isinstance(cell, PeepholeLSTMCell):
        names = "fo" if cell.coupled_gates else "ifo"
        put("peephole", ops.reshape(cell.peephole_kernel, (-1,)), names)
    if cell.projection_units:
        put("projection", cell.projection_kernel, "h")
    if cell.layer_norm:
        put("layer_norm", cell.layer_norm_gain)
    return {slot: np.ascontiguousarray(arrays[slot]) for slot in sorted(arrays)}


def _marker(name: str, slots: list[Slot], output_size: int) -> Callable[..., Any]:
    """A TensorFlow function that the converter keeps as one custom operator, operands and all."""
    import tensorflow as tf

    attributes = {"layer": scope_name(name), "slots": ",".join(map(str, slots))}

    @custom_operator(MARKER, attributes)
    def marker(x: Any, *operands: Any) -> Any:
        batch, time = tf.unstack(tf.shape(x)[:2])
        zeros = tf.zeros((batch, time, output_size)) + tf.reduce_sum(x) * 0.0
        return tf.ensure_shape(zeros, (*x.shape[:2], output_size))

    return marker
