"""The LSTM cell."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kgated import steps
from kgated.cells.base import GatedCell, Step, check_flag, check_size, register, tensor
from kgated.quantization_hook import QuantizationHook
from kgated.steps import Array, Function, Gates

Update = Callable[[Gates, Array], tuple[Array, Array]]


@register
class LSTMCell(GatedCell, keras.layers.LSTMCell):
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
        ValueError: `units` or `projection_units` below 1, a dropout rate outside [0, 1).

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
        super().__init__(self._check_options(units, kwargs), *args, **kwargs)
        if projection_units is not None:
            projection_units = check_size("projection_units", projection_units)
        self.coupled_gates = check_flag("coupled_gates", coupled_gates)
        self.projection_units = projection_units
        self.layer_norm = check_flag("layer_norm", layer_norm)
        self.output_size = projection_units or self.units
        self.state_size = [self.output_size, self.units]
        self._one_mask_for_all_gates()

    @property
    def state_points(self) -> tuple[str, ...]:
        """The quantization points of the states, in the order of the states."""
        return ("projected" if self.projection_units else "h", "c")

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
            blocks = [f((n,), *args, **kwargs) for n, f in zip(sizes, kinds, strict=True) if n]
            return ops.concatenate(blocks)

        return self.add_weight(
            shape=(width,),
            name="bias",
            initializer=forget_gate_open if self.unit_forget_bias else self.bias_initializer,
            regularizer=self.bias_regularizer,
            constraint=self.bias_constraint,
        )

    def _activations(self, hook: QuantizationHook = steps.EXACT, of: str = "a") -> Gates:
        """The four gates' activations, with normalization and coupling composed in.

        `of` is the quantization point from which the input gate is computed.
        """
        sigmoid, tanh = self.recurrent_activation, self.activation
        act = Gates(sigmoid, sigmoid, tanh, sigmoid)
        if self.layer_norm:
            gain = steps.lstm_gates(tensor(self.layer_norm_gain), self.coupled_gates)
            bias = (None,) * 4
            if self.use_bias:
                bias = steps.lstm_gates(tensor(self.bias), self.coupled_gates)
            act = Gates(*map(steps.normalized, act, gain, bias))
        return act._replace(i=steps.complement(act.f, hook, of)) if self.coupled_gates else act

    def _update(self, batch: int | None, hook: QuantizationHook) -> Update:
        """The function from the gates' pre-activations and c to h', c'."""
        act, tanh = self._activations(hook), self.activation
        return lambda z, c: steps.lstm_step(z, c, act, tanh, hook)

    def _projection(self, hook: QuantizationHook) -> Function:
        """The function from the equations' h' to the output."""
        if not self.projection_units:
            return lambda h: h
        P, _ = hook.weights("projected", tensor(self.projection_kernel), operand="h")
        return lambda h: hook("projected", ops.matmul(h, P))

    def prepare(
        self,
        affine: Function = steps.affine,
        batch: int | None = None,
        hook: QuantizationHook | None = None,
    ) -> Step:
        """The step as a function, with the weights sliced once; see `GatedCell`."""
        hook = hook or self.hook
        W, R = tensor(self.kernel), tensor(self.recurrent_kernel)
        b = None if self.layer_norm else tensor(self.bias)  # normalization adds it later
        product = affine(W, R, b, hook)
        update, project = self._update(batch, hook), self._projection(hook)

        def step(x: Array, h_in: Array, states: list[Array]) -> tuple[Array, list[Array]]:
            z = steps.lstm_gates(product(x, h_in), self.coupled_gates)
            h, c = update(z, states[1])
            h = project(h)
            return h, [h, c]

        return step

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "coupled_gates": self.coupled_gates,
            "projection_units": self.projection_units,
            "layer_norm": self.layer_norm,
        }
