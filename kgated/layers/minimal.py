"""The layers of the minimal cells."""

from typing import Any

from kgated.cells import MinGRUCell, MinLSTMCell, register
from kgated.layers.base import (
    Activation,
    Constraint,
    GatedRNN,
    Initializer,
    Regularizer,
    arguments_of,
)


@register
class MinGRU(GatedRNN):
    """Minimal GRU layer, trained on all time steps at once: (B, T, F) to (B, U) or (B, T, U).

    The arguments of `keras.layers.GRU` that do not concern the recurrent kernel, in the same order,
    with a linear candidate by default. The equations are in `kgated.MinGRUCell`.

    Example:
        >>> import keras, kgated
        >>> kgated.MinGRU(16)(keras.random.normal((2, 10, 4))).shape
        TensorShape([2, 16])
    """

    cell_class = MinGRUCell

    def __init__(
        self,
        units: int,
        activation: Activation = "linear",
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
        bias_constraint: Constraint = None,
        dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**arguments_of(locals()))


@register
class MinLSTM(GatedRNN):
    """Minimal LSTM layer, trained on all time steps at once: (B, T, F) to (B, U) or (B, T, U).

    The arguments of `keras.layers.GRU` that do not concern the recurrent kernel, in the same order,
    with a linear candidate by default. The equations are in `kgated.MinLSTMCell`.

    Example:
        >>> import keras, kgated
        >>> kgated.MinLSTM(16)(keras.random.normal((2, 10, 4))).shape
        TensorShape([2, 16])
    """

    cell_class = MinLSTMCell

    def __init__(
        self,
        units: int,
        activation: Activation = "linear",
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
        bias_constraint: Constraint = None,
        dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**arguments_of(locals()))
