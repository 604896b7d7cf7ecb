"""The GRU cell."""

from typing import Any

import keras
from keras import ops

from kgated import steps
from kgated.cells.base import GatedCell, Step, check_flag, choose, register, tensor
from kgated.quantization_hook import QuantizationHook
from kgated.steps import Array, Function


@register
class GRUCell(GatedCell, keras.layers.GRUCell):
    """GRU cell in the textbook's form, which is NOT the form of Keras, PyTorch or ONNX.

    Copying raw weights between the conventions gives wrong results without an error; use
    `GRU.from_keras(layer)`, which picks both options below from the layer.

    Equations, with the columns of each fused weight in the order z|r|h::

        z  = σ(x·Wz + h·Rz + bz)            r = σ(x·Wr + h·Rr + br)
        h̃  = tanh(x·Wh + (r∘h)·Rh + bh)     h' = (1-z)∘h + z∘h̃

    Args:
        units: U, the size of the state, at least 1.
        reset_after: True: `h̃ = tanh(x·Wh + bh + r∘(h·Rh + b'h))`, cuDNN's form, with a bias for
            each product.
        update_gate: what z multiplies: the "candidate" as above, or the old "state":
            `h' = z∘h + (1-z)∘h̃`, the convention of Keras, PyTorch, cuDNN and ONNX.
        Other arguments: as in `keras.layers.GRUCell`.

    Weights: `kernel` (F, 3U), `recurrent_kernel` (U, 3U), `bias` (3U,), or (2, 3U) when
    `reset_after`.

    Call: inputs (B, F), states [h (B, U)]; returns h', [h'].

    Raises:
        ValueError: `units` below 1, an unknown `update_gate`, a dropout rate outside [0, 1).

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
        reset_after = check_flag("reset_after", reset_after)
        super().__init__(
            self._check_options(units, kwargs), *args, reset_after=reset_after, **kwargs
        )
        self._mix = choose(
            "update_gate",
            update_gate,
            {"candidate": steps.toward_candidate, "state": steps.toward_state},
        )
        self.update_gate = update_gate
        self._one_mask_for_all_gates()

    def prepare(
        self,
        affine: Function = steps.affine,
        batch: int | None = None,
        hook: QuantizationHook | None = None,
    ) -> Step:
        """The step as a function, with the weights sliced once; see `GatedCell`."""
        hook = hook or self.hook
        formula, weights = self._formula(affine, hook)
        functions = self.recurrent_activation, self.activation, self._mix, hook

        def step(x: Array, h_in: Array, states: list[Array]) -> tuple[Array, list[Array]]:
            h = formula(x, states[0], h_in, *weights, *functions)
            return h, [h]

        return step

    def _formula(
        self, affine: Function, hook: QuantizationHook
    ) -> tuple[Function, tuple[Any, ...]]:
        """The step function of `kgated.steps`, and the weights in its order."""
        W, R, b = tensor(self.kernel), tensor(self.recurrent_kernel), tensor(self.bias)
        if self.reset_after:
            b_x, b_h = (None, None) if b is None else ops.unstack(b, axis=0)
            W, b_x = hook.weights("xW", W, b_x)
            R, b_h = hook.weights("hR", R, b_h, "state")
            return steps.gru_reset_after_step, (W, R, (b_x, b_h))
        gates, candidate = steps.gru_columns(W, R, b)
        z_and_r = affine(*gates, hook.nested("gates", state="h"))
        return steps.gru_step, (z_and_r, affine(*candidate, hook.nested("candidate", state="r*h")))

    def _product_over_time(self, x: Array, training: bool) -> tuple[Array, Function]:
        # With the reset gate after the product there are two, of x and of h.
        return (x, steps.affine) if self.reset_after else super()._product_over_time(x, training)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "update_gate": self.update_gate}
