"""The LSTM cell with peepholes."""

from typing import Any

import keras
from keras import ops

from kgated import steps
from kgated.cells.base import choose, register, tensor
from kgated.cells.lstm import LSTMCell, Update
from kgated.quantization_hook import QuantizationHook
from kgated.steps import Peepholes


@register
class PeepholeLSTMCell(LSTMCell):
    """LSTM cell whose gates see the cell state.

    Equations; the default is the field's standard, which ONNX, tfa and the TFLite kernel compute::

        i  = σ(x·Wi + h·Ri + pi∘c + bi)     f  = σ(x·Wf + h·Rf + pf∘c + bf)
        g  = tanh(x·Wc + h·Rc + bc)         c' = f∘c + i∘g
        o  = σ(x·Wo + h·Ro + po∘c' + bo)    h' = o∘tanh(c')

    Args:
        units: U, the size of the cell state, at least 1.
        peephole: "diagonal", one weight per unit as above, or "full": U×U matrices, `c·Pi` for
            `pi∘c`.
        output_peephole: the output gate sees "current", c', or "previous", c. With "full" and
            "previous" all gates are the textbook's `σ(W·[c, h, x] + b)`.
        peephole_initializer, peephole_regularizer, peephole_constraint: of the peephole weights.
            Zeros by default: training starts from the plain LSTM.
        coupled_gates, projection_units, layer_norm: as in `LSTMCell`.
        Other arguments: as in `keras.layers.LSTMCell`.

    Weights: those of `LSTMCell`, and `peephole_kernel` (3, U), rows i|f|o; (3, U, U) when full,
    rows f|o when coupled.

    Raises:
        ValueError: an unknown `peephole` or `output_peephole`.

    Reference: Gers & Schmidhuber 2000, "Recurrent nets that time and count".
    """

    def __init__(
        self,
        units: int,
        *args: Any,
        peephole: str = "diagonal",
        output_peephole: str = "current",
        peephole_initializer: Any = "zeros",
        peephole_regularizer: Any = None,
        peephole_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(units, *args, **kwargs)
        self._peek = choose("peephole", peephole, {"diagonal": steps.diagonal, "full": steps.full})
        self._output_cell_state = choose(
            "output_peephole",
            output_peephole,
            {"current": lambda c, c_new: c_new, "previous": lambda c, c_new: c},
        )
        self.peephole, self.output_peephole = peephole, output_peephole
        self.peephole_initializer = keras.initializers.get(peephole_initializer)
        self.peephole_regularizer = keras.regularizers.get(peephole_regularizer)
        self.peephole_constraint = keras.constraints.get(peephole_constraint)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights for inputs of shape (B, F)."""
        super().build(input_shape)
        one_gate = (self.units,) if self.peephole == "diagonal" else (self.units, self.units)
        self.peephole_kernel = self.add_weight(
            shape=(2 if self.coupled_gates else 3, *one_gate),
            name="peephole_kernel",
            initializer=self.peephole_initializer,
            regularizer=self.peephole_regularizer,
            constraint=self.peephole_constraint,
        )

    def _peepholes(self, batch: int | None, hook: QuantizationHook) -> Peepholes:
        rows = ops.unstack(tensor(self.peephole_kernel), axis=0)
        rows = [rows[0], *rows] if self.coupled_gates else rows  # i is computed from f's
        pairs = [(f"peek_{gate}", row) for gate, row in zip("ifo", rows, strict=True)]
        if self.peephole == "diagonal":
            rows = [hook.vector(name, row, operand="c") for name, row in pairs]
        else:
            rows = [hook.weights(name, row, operand="c")[0] for name, row in pairs]
        if batch is not None and self.peephole == "diagonal":
            # Else TensorFlow's gradient sums each row's product over the batch at every step.
            rows = [ops.broadcast_to(row, (batch, self.units)) for row in rows]
        return Peepholes(*rows)

    def _update(self, batch: int | None, hook: QuantizationHook) -> Update:
        p, act, tanh = self._peepholes(batch, hook), self._activations(hook, "a_i"), self.activation
        peek, output_cell_state = self._peek, self._output_cell_state
        return lambda z, c: steps.peephole_lstm_step(
            z, c, p, act, tanh, peek, output_cell_state, hook
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "peephole": self.peephole,
            "output_peephole": self.output_peephole,
            "peephole_initializer": keras.initializers.serialize(self.peephole_initializer),
            "peephole_regularizer": keras.regularizers.serialize(self.peephole_regularizer),
            "peephole_constraint": keras.constraints.serialize(self.peephole_constraint),
        }
