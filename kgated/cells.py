"""The cells: weights, configuration and one call to a step. The formulas are in `kgated.steps`.

Each cell is Keras's own cell with another step, so every argument of `keras.layers.LSTMCell` and
`keras.layers.GRUCell` is there with its name, order and default; the differences:

- `GRUCell` has `reset_after=False` and `update_gate="candidate"` as defaults, the textbook's form;
- `recurrent_dropout` and `dropout` draw one mask for all gates, held over the time steps;
- `implementation` is ignored: there is one.
"""

from typing import Any

import keras
from keras import ops

from kgated import steps
from kgated.steps import Array, Function, Gates, Peepholes

register = keras.saving.register_keras_serializable(package="kgated")


def choose(argument: str, value: Any, options: dict[Any, Any]) -> Any:
    """Return `options[value]`, or raise a ValueError that names the argument and the choices."""
    if value not in options:
        raise ValueError(f"`{argument}` must be one of {list(options)}. Received: {value!r}")
    return options[value]


def _drop(cell: Any, x: Array, h: Array, training: bool) -> tuple[Array, Array]:
    """Apply the cell's input and recurrent dropout, one mask each for all time steps."""
    if training and 0.0 < cell.dropout < 1.0:
        x = x * cell.get_dropout_mask(x)
    if training and 0.0 < cell.recurrent_dropout < 1.0:
        h = h * cell.get_recurrent_dropout_mask(h)
    return x, h


@register
class LSTMCell(keras.layers.LSTMCell):
    """LSTM cell.

    Equations, with the columns of each fused weight in the order i|f|c|o::

        i  = σ(x·Wi + h·Ri + bi)        f = σ(x·Wf + h·Rf + bf)
        g  = tanh(x·Wc + h·Rc + bc)     o = σ(x·Wo + h·Ro + bo)
        c' = f∘c + i∘g                  h' = o∘tanh(c')

    Args:
        units: U, the size of the cell state, at least 1.
        coupled_gates: CIFG: `i = 1 - f`, and the columns are f|c|o (Greff et al. 2017).
        projection_units: P; `h' = (o∘tanh(c'))·Wp` of size P is the output and what the gates see
            (Sak et al. 2014). None: no projection.
        layer_norm: normalize each gate's pre-activation over the units, with a learned gain, before
            its bias and its activation (Ba et al. 2016, as the TFLite LSTM kernel computes it).
        Other arguments: as in `keras.layers.LSTMCell`.

    Weights: `kernel` (F, 4U), `recurrent_kernel` (P or U, 4U), `bias` (4U,); 3U when coupled;
    `projection_kernel` (U, P), `layer_norm_gain` (4U,).

    Call: inputs (B, F), states [h (B, P or U), c (B, U)]; returns h', [h', c'].

    Raises:
        ValueError: `units` or `projection_units` below 1.

    Reference: Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins 2000.
    """

    def __init__(
        self,
        units: int,
        *args: Any,
        coupled_gates: bool = False,
        projection_units: int | None = None,
        layer_norm: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(units, *args, **kwargs)
        if projection_units is not None and projection_units < 1:
            raise ValueError(
                f"`projection_units` must be None or at least 1. Received: {projection_units!r}"
            )
        self.coupled_gates = coupled_gates
        self.projection_units = projection_units
        self.layer_norm = layer_norm
        self.output_size = projection_units or units
        self.state_size = [self.output_size, units]
        self.implementation, self.dropout_mask_count = 2, None

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights for inputs of shape (B, F)."""
        width = (3 if self.coupled_gates else 4) * self.units
        self.kernel = self.add_weight(
            shape=(input_shape[-1], width),
            name="kernel",
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.recurrent_kernel = self.add_weight(
            shape=(self.output_size, width),
            name="recurrent_kernel",
            initializer=self.recurrent_initializer,
            regularizer=self.recurrent_regularizer,
            constraint=self.recurrent_constraint,
        )
        self.bias = self._add_bias(width) if self.use_bias else None
        if self.projection_units:
            self.projection_kernel = self.add_weight(
                shape=(self.units, self.projection_units),
                name="projection_kernel",
                initializer=self.kernel_initializer,
                regularizer=self.kernel_regularizer,
                constraint=self.kernel_constraint,
            )
        if self.layer_norm:
            self.layer_norm_gain = self.add_weight(
                shape=(width,), name="layer_norm_gain", initializer="ones"
            )
        self.built = True

    def _add_bias(self, width: int) -> Any:
        before_forget = 0 if self.coupled_gates else self.units

        def forget_gate_open(_: Any, *args: Any, **kwargs: Any) -> Array:
            sizes = (before_forget, self.units, width - before_forget - self.units)
            kinds = (self.bias_initializer, keras.initializers.Ones(), self.bias_initializer)
            parts = [f((n,), *args, **kwargs) for n, f in zip(sizes, kinds, strict=True) if n]
            return ops.concatenate(parts)

        return self.add_weight(
            shape=(width,),
            name="bias",
            initializer=forget_gate_open if self.unit_forget_bias else self.bias_initializer,
            regularizer=self.bias_regularizer,
            constraint=self.bias_constraint,
        )

    def _activations(self) -> Gates:
        """The four gates' activations, with normalization and coupling composed in."""
        sigmoid, tanh = self.recurrent_activation, self.activation
        act = Gates(sigmoid, sigmoid, tanh, sigmoid)
        if self.layer_norm:
            gain = steps.lstm_gates(self.layer_norm_gain, self.coupled_gates)
            bias = (None,) * 4
            if self.use_bias:
                bias = steps.lstm_gates(self.bias, self.coupled_gates)
            act = Gates(*map(steps.normalized, act, gain, bias))
        return act._replace(i=steps.complement(act.f)) if self.coupled_gates else act

    def _update(self, z: Gates, c: Array) -> tuple[Array, Array]:
        return steps.lstm_step(z, c, self._activations(), self.activation)

    def step(
        self, x: Array, states: list[Array], affine: Function = steps.affine
    ) -> tuple[Array, list[Array]]:
        """One step without dropout; `affine` computes `x·W + h·R + b`."""
        h, c = states
        bias = None if self.layer_norm else self.bias
        z = affine(x, self.kernel, h, self.recurrent_kernel, bias)
        h, c = self._update(steps.lstm_gates(z, self.coupled_gates), c)
        if self.projection_units:
            h = ops.matmul(h, self.projection_kernel)
        return h, [h, c]

    def call(
        self, inputs: Array, states: list[Array], training: bool = False
    ) -> tuple[Array, list[Array]]:
        """One step, with dropout when `training`."""
        h, c = states
        x, h = _drop(self, inputs, h, training)
        return self.step(x, [h, c])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "coupled_gates": self.coupled_gates,
            "projection_units": self.projection_units,
            "layer_norm": self.layer_norm,
        }


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
        self._peek = choose(
            "peephole", peephole, {"diagonal": steps.diagonal, "full": steps.full}
        )
        self._output_sees = choose(
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

    def _update(self, z: Gates, c: Array) -> tuple[Array, Array]:
        rows = ops.unstack(self.peephole_kernel, axis=0)
        p = Peepholes(rows[0], *rows) if self.coupled_gates else Peepholes(*rows)
        return steps.peephole_lstm_step(
            z, c, p, self._activations(), self.activation, self._peek, self._output_sees
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


@register
class GRUCell(keras.layers.GRUCell):
    """GRU cell. The default is the textbook's form, which is NOT the form of Keras, PyTorch or ONNX.

    Copying raw weights between the conventions gives wrong results without an error; use
    `GRU.from_keras(layer)`, which picks both options below from the layer.

    Equations, with the columns of each fused weight in the order z|r|h::

        z  = σ(x·Wz + h·Rz + bz)            r = σ(x·Wr + h·Rr + br)
        h̃  = tanh(x·Wh + (r∘h)·Rh + bh)     h' = (1-z)∘h + z∘h̃

    Args:
        units: U, the size of the state, at least 1.
        reset_after: True: `h̃ = tanh(x·Wh + bh + r∘(h·Rh + b'h))`, cuDNN's form, with a bias for
            each product.
        update_gate: what z weighs: the "candidate" as above, or the old "state":
            `h' = z∘h + (1-z)∘h̃`, the convention of Keras, PyTorch, cuDNN and ONNX.
        Other arguments: as in `keras.layers.GRUCell`.

    Weights: `kernel` (F, 3U), `recurrent_kernel` (U, 3U), `bias` (3U,), or (2, 3U) when
    `reset_after`.

    Call: inputs (B, F), states [h (B, U)]; returns h', [h'].

    Raises:
        ValueError: `units` below 1, or an unknown `update_gate`.

    Reference: Cho et al. 2014 (v3 of the paper puts the reset before the product).
    """

    def __init__(
        self,
        units: int,
        *args: Any,
        reset_after: bool = False,
        update_gate: str = "candidate",
        **kwargs: Any,
    ) -> None:
        super().__init__(units, *args, reset_after=reset_after, **kwargs)
        self._mix = choose(
            "update_gate",
            update_gate,
            {"candidate": steps.toward_candidate, "state": steps.toward_state},
        )
        self.update_gate = update_gate
        self.implementation, self.dropout_mask_count = 2, None

    def step(
        self, x: Array, states: list[Array], affine: Function = steps.affine
    ) -> tuple[Array, list[Array]]:
        """One step without dropout; `affine` computes `x·W + h·R + b`."""
        weights = self.kernel, self.recurrent_kernel, self.bias
        functions = self.recurrent_activation, self.activation, self._mix
        if self.reset_after:
            h = steps.gru_reset_after_step(x, states[0], *weights, *functions)
        else:
            h = steps.gru_step(x, states[0], *weights, *functions, affine)
        return h, [h]

    def call(
        self, inputs: Array, states: list[Array], training: bool = False
    ) -> tuple[Array, list[Array]]:
        """One step, with dropout when `training`."""
        x, h = _drop(self, inputs, states[0], training)
        return self.step(x, [h])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "update_gate": self.update_gate}
