"""The layers with the arguments of Keras's own layers."""

from typing import Any, ClassVar

import keras

from kgated.cells import GRUCell, LSTMCell, PeepholeLSTMCell, register
from kgated.layers.base import (
    Activation,
    Constraint,
    GatedRNN,
    Initializer,
    Regularizer,
    arguments_of,
)


@register
class LSTM(GatedRNN):
    """LSTM layer: (B, T, F) to (B, U), or to (B, T, U) with `return_sequences=True`.

    The arguments of `keras.layers.LSTM` in the same order with the same defaults, then the
    variants `coupled_gates`, `projection_units` and `layer_norm` of `kgated.LSTMCell`, where the
    equations are. `use_cudnn` and `implementation` do not exist here.

    Call: `layer(x, mask=None, training=False, initial_state=None)`, with mask (B, T) boolean and
    initial_state [h (B, U), c (B, U)].

    Example:
        >>> import keras, kgated
        >>> kgated.LSTM(16)(keras.random.normal((2, 10, 4))).shape
        TensorShape([2, 16])
    """

    cell_class = LSTMCell

    def __init__(
        self,
        units: int,
        activation: Activation = "tanh",
        recurrent_activation: Activation = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        recurrent_initializer: Initializer = "orthogonal",
        bias_initializer: Initializer = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Regularizer = None,
        recurrent_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
        recurrent_constraint: Constraint = None,
        bias_constraint: Constraint = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        coupled_gates: bool = False,
        projection_units: int | None = None,
        layer_norm: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**arguments_of(locals()))


@register
class PeepholeLSTM(GatedRNN):
    """LSTM layer with peepholes: (B, T, F) to (B, U), or (B, T, U) with `return_sequences=True`.

    The arguments of `kgated.LSTM`, then `peephole`, `output_peephole` and the peephole weights'
    initializer, regularizer and constraint of `kgated.PeepholeLSTMCell`, where the equations are.

    Example:
        >>> import keras, kgated
        >>> kgated.PeepholeLSTM(16, peephole="full")(keras.random.normal((2, 10, 4))).shape
        TensorShape([2, 16])
    """

    cell_class = PeepholeLSTMCell

    def __init__(
        self,
        units: int,
        activation: Activation = "tanh",
        recurrent_activation: Activation = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        recurrent_initializer: Initializer = "orthogonal",
        bias_initializer: Initializer = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Regularizer = None,
        recurrent_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
        recurrent_constraint: Constraint = None,
        bias_constraint: Constraint = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        coupled_gates: bool = False,
        projection_units: int | None = None,
        layer_norm: bool = False,
        peephole: str = "diagonal",
        output_peephole: str = "current",
        peephole_initializer: Initializer = "zeros",
        peephole_regularizer: Regularizer = None,
        peephole_constraint: Constraint = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**arguments_of(locals()))


@register
class GRU(GatedRNN):
    """GRU layer in the textbook's form, which is NOT the default form of `keras.layers.GRU`.

    Copying raw weights between conventions gives wrong results without an error: build the layer
    by `GRU.from_keras(layer)`, which picks `reset_after` and `update_gate` and copies the weights.

    (B, T, F) to (B, U), or to (B, T, U) with `return_sequences=True`. The arguments of
    `keras.layers.GRU` in the same order with the same defaults but `reset_after=False`, then
    `update_gate` of `kgated.GRUCell`, where the equations are.

    Example:
        >>> import keras, kgated
        >>> kgated.GRU(16)(keras.random.normal((2, 10, 4))).shape
        TensorShape([2, 16])
    """

    cell_class = GRUCell
    keras_class = keras.layers.GRU
    keras_convention: ClassVar[dict[str, Any]] = {"update_gate": "state"}

    def __init__(
        self,
        units: int,
        activation: Activation = "tanh",
        recurrent_activation: Activation = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        recurrent_initializer: Initializer = "orthogonal",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None,
        recurrent_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
        recurrent_constraint: Constraint = None,
        bias_constraint: Constraint = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        reset_after: bool = False,
        update_gate: str = "candidate",
        **kwargs: Any,
    ) -> None:
        super().__init__(**arguments_of(locals()))
