"""The minimal cells: no gate depends on the state, so all time steps are computed at once."""

from collections.abc import Callable
from typing import Any, ClassVar

import keras
from keras import ops

from kgated import steps
from kgated.cells.base import GatedCell, States, Step, check_rate, check_size, register, tensor
from kgated.cells.linear_recurrence import linear_recurrence
from kgated.quantization_hook import QuantizationHook
from kgated.steps import Array, Function

# (the rows (B, U) of each product of the frames, h (B, U)) -> h' (B, U)
Update = Callable[[list[Array], Array], Array]
RECURRENT_OPTIONS = ("initializer", "regularizer", "constraint", "dropout")


class MinimalCell(GatedCell, keras.layers.SimpleRNNCell):
    """The base of the minimal cells.

    A subclass names its gates and implements `update` and `coefficients`.

    Args:
        units: U, the size of the state, at least 1.
        activation: of the candidate; "linear" as in the paper.
        use_bias, dropout, seed: as in `keras.layers.GRUCell`.
        kernel_initializer, kernel_regularizer, kernel_constraint: as in `keras.layers.GRUCell`.
        bias_initializer, bias_regularizer, bias_constraint: as in `keras.layers.GRUCell`.
    """

    gates: ClassVar[str]

    def __init__(
        self,
        units: int,
        activation: Any = "linear",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        if recurrent := sorted(name for name in kwargs if name.startswith("recurrent_")):
            raise TypeError(
                f"`{recurrent[0]}` is not an argument: the cell has no recurrent kernel"
            )
        super().__init__(
            check_size("units", units),
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            dropout=check_rate("dropout", dropout),
            seed=seed,
            **kwargs,
        )
        self.state_size = [self.units]
        self._one_mask_for_all_gates()

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights for inputs of shape (B, F)."""
        width = (len(self.gates) + 1) * self.units
        self.kernel = self.add_weight(
            shape=(input_shape[-1], width),
            name="kernel",
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(width,),
                name="bias",
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )
        self.built = True

    def get_initial_state(self, batch_size: Any = None) -> list[Array]:
        """Zeros, [h (B, U)]."""
        return [ops.zeros((batch_size, self.units), dtype=self.compute_dtype)]

    def update(self, rows: list[Array], h: Array, hook: QuantizationHook) -> Array:
        """One step of `kgated.steps`, from the gates' pre-activations and the candidate."""
        raise NotImplementedError

    def coefficients(self, rows: list[Array]) -> tuple[Array, Array]:
        """The factor of h and the summand of the same step, for all frames at once."""
        raise NotImplementedError

    def products(self, x: Array, hook: QuantizationHook) -> list[Array]:
        """The gates' pre-activations and the candidate, (..., U) each, of frames x (..., F)."""
        return [product(x) for product in self._products(hook)]

    def _products(self, hook: QuantizationHook) -> list[Function]:
        count = len(self.gates) + 1
        kernels = ops.split(tensor(self.kernel), count, axis=-1)
        biases = [None] * count if self.bias is None else ops.split(tensor(self.bias), count)
        linear = self.activation is keras.activations.linear
        points = [*(f"a_{gate}" for gate in self.gates), "g" if linear else "a_g"]
        functions = [
            _product(point, *hook.weights(point, W, b), hook)
            for point, W, b in zip(points, kernels, biases, strict=True)
        ]
        if not linear:
            candidate = functions.pop()
            functions.append(lambda x: hook.function("g", self.activation, candidate(x), of="a_g"))
        return functions

    def prepare(
        self,
        affine: Function = steps.affine,
        batch: int | None = None,
        hook: QuantizationHook | None = None,
    ) -> Step:
        """The step as a function, with the weights sliced once; there is no product with h."""
        hook = hook or self.hook
        products = self._products(hook)

        def step(x: Array, h_in: Array, states: States) -> tuple[Array, States]:
            h = self.update([product(x) for product in products], states[0], hook)
            return h, [h]

        return step

    def over_rows(
        self, frames: Array, hook: QuantizationHook | None = None
    ) -> tuple[list[Array], Step]:
        """Compute the products of all frames (..., F); return them and the rest of the step."""
        hook = hook or self.hook

        def step(rows: Array, h_in: Array, states: States) -> tuple[Array, States]:
            h = self.update(list(rows), states[0], hook)
            return h, [h]

        return self.products(frames, hook), step

    def all_steps(self, x: Array, h: Array, mask: Array | None, training: bool) -> Array:
        """The states (B, T, U) after each frame, without a loop over time.

        Args:
            x: (B, T, F).
            h: (B, U), the state before the first frame.
            mask: (B, T) boolean; the state stays where it is False.
            training: with dropout, whose mask is the same at all steps.
        """
        if training and self.dropout:
            x = x * ops.expand_dims(self.get_dropout_mask(x[:, 0]), axis=1)
        factor, summand = self.coefficients(self.products(x, self.hook))
        if mask is not None:
            mask = ops.expand_dims(mask, -1)
            factor = ops.where(mask, factor, ops.ones_like(factor))
            summand = ops.where(mask, summand, ops.zeros_like(summand))
        first = summand[:, :1] + factor[:, :1] * ops.expand_dims(h, 1)
        return linear_recurrence(factor, ops.concatenate([first, summand[:, 1:]], axis=1))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        for option in RECURRENT_OPTIONS:
            del config[f"recurrent_{option}"]
        return dict(config)


def _product(
    point: str, W: Array, b: Array | None, hook: QuantizationHook
) -> Callable[[Array], Array]:
    return lambda x: hook(point, steps.plus_bias(ops.matmul(x, W), b))


@register
class MinGRUCell(MinimalCell):
    """Minimal GRU cell.

    Equations, with the columns of each fused weight in the order z|h::

        z  = σ(x·Wz + bz)       h̃ = x·Wh + bh       h' = (1-z)∘h + z∘h̃

    Args:
        units: U, the size of the state, at least 1.
        activation: of the candidate h̃; "linear" as in the paper.
        Other arguments: as in `keras.layers.GRUCell`, without those of the recurrent kernel.

    Weights: `kernel` (F, 2U), `bias` (2U,).

    Call: inputs (B, F), states [h (B, U)]; returns h', [h'].

    Raises:
        ValueError: `units` below 1, a dropout rate outside [0, 1).
        TypeError: an argument of the recurrent kernel.

    Reference: Feng et al. 2024, "Were RNNs all we needed?"
    """

    gates = "z"

    def update(self, rows: list[Array], h: Array, hook: QuantizationHook) -> Array:
        """One step; rows z, g (B, U), h (B, U)."""
        z, g = rows
        return steps.min_gru_step(z, g, h, hook)

    def coefficients(self, rows: list[Array]) -> tuple[Array, Array]:
        """The factor of h and the summand, of rows z, g (B, T, U)."""
        return steps.min_gru_coefficients(*rows)


@register
class MinLSTMCell(MinimalCell):
    """Minimal LSTM cell.

    Equations, with the columns of each fused weight in the order f|i|h::

        f  = σ(x·Wf + bf)       i  = σ(x·Wi + bi)       h̃ = x·Wh + bh
        h' = f/(f+i)∘h + i/(f+i)∘h̃

    Args:
        units: U, the size of the state, at least 1.
        activation: of the candidate h̃; "linear" as in the paper.
        Other arguments: as in `keras.layers.GRUCell`, without those of the recurrent kernel.

    Weights: `kernel` (F, 3U), `bias` (3U,).

    Call: inputs (B, F), states [h (B, U)]; returns h', [h'].

    Raises:
        ValueError: `units` below 1, a dropout rate outside [0, 1).
        TypeError: an argument of the recurrent kernel.

    Reference: Feng et al. 2024, "Were RNNs all we needed?", with the gates normalized to sum 1.
    """

    gates = "fi"

    def update(self, rows: list[Array], h: Array, hook: QuantizationHook) -> Array:
        """One step; rows f, i, g (B, U), h (B, U)."""
        f, i, g = rows
        return steps.min_lstm_step(f, i, g, h, hook)

    def coefficients(self, rows: list[Array]) -> tuple[Array, Array]:
        """The factor of h and the summand, of rows f, i, g (B, T, U)."""
        return steps.min_lstm_coefficients(*rows)
