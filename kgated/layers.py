"""The layers: `keras.layers.RNN` over a kgated cell, with the arguments of Keras's own layers."""

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, Self, TypeAlias

import keras
from keras import ops

from kgated.cells import (
    GRUCell,
    LSTMCell,
    MinGRUCell,
    MinimalCell,
    MinLSTMCell,
    PeepholeLSTMCell,
    register,
)
from kgated.cells.base import LoopStep
from kgated.steps import Array

Activation: TypeAlias = str | Callable[..., Any] | None
Initializer: TypeAlias = str | keras.initializers.Initializer
Regularizer: TypeAlias = str | keras.regularizers.Regularizer | None
Constraint: TypeAlias = str | keras.constraints.Constraint | None


def _arguments(names: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a constructor, from its `locals()`."""
    named = {k: v for k, v in names.items() if k not in ("self", "__class__", "kwargs")}
    return {**named, **names["kwargs"]}


def _cell_property(name: str) -> property:
    return property(lambda self: getattr(self.cell, name))


class _WithStep:
    """A view of a layer in which a plain function replaces the cell, for the loop over time."""

    def __init__(self, layer: keras.layers.RNN, step: LoopStep) -> None:
        self._layer = layer
        self.cell = step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)


def run_loop(
    layer: keras.layers.RNN, step: LoopStep, x: Array, states: Any, mask: Any
) -> tuple[Array, Array, list[Array]]:
    """Run Keras's loop over time with the options of `layer` and another step, on x (B, T, ...).

    Returns:
        The last output, all outputs where the layer returns sequences, the last states.
    """
    return keras.layers.RNN.inner_loop(_WithStep(layer, step), x, states, mask)


def run_all_steps(
    layer: keras.layers.RNN, x: Array, states: Any, mask: Any, training: bool
) -> tuple[Array, Array, list[Array]]:
    """Run a layer of a minimal cell on x (B, T, F) without a loop over time; as `run_loop`."""
    if mask is not None:
        mask = ops.reshape(mask, ops.shape(x)[:2])
    if layer.go_backwards:
        x, mask = ops.flip(x, 1), None if mask is None else ops.flip(mask, 1)
    h = layer.cell.all_steps(x, states[0], mask, training)
    last, outputs = h[:, -1], h
    if mask is not None:
        # As in Keras, the output is zero before the first frame that is not masked.
        computed = (
            mask if layer.zero_output_for_mask else ops.cumsum(ops.cast(mask, "int32"), 1) > 0
        )
        outputs = ops.where(ops.expand_dims(computed, -1), h, ops.zeros_like(h))
    return outputs[:, -1], outputs, [last]


class GatedRNN(keras.layers.RNN):
    """The shared base: builds the cell from those arguments that belong to the cell.

    Every argument of the cell can be read from the layer too, such as `layer.units`.
    """

    cell_class: ClassVar[type[keras.layers.Layer]]
    cell_options: ClassVar[frozenset[str]]
    keras_class: ClassVar[type[keras.layers.RNN]] = keras.layers.LSTM
    keras_convention: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        names: set[str] = set()
        for base in cls.cell_class.__mro__[: cls.cell_class.__mro__.index(keras.layers.Layer)]:
            names.update(inspect.signature(vars(base).get("__init__", object)).parameters)
        cls.cell_options = frozenset(names - {"self", "args", "kwargs"})
        for name in cls.cell_options:
            setattr(cls, name, _cell_property(name))

    def __init__(self, **options: Any) -> None:
        cell_options = {k: options.pop(k) for k in list(options) if k in self.cell_options}
        shared = {k: options[k] for k in ("dtype", "trainable") if k in options}
        super().__init__(self.cell_class(**cell_options, **shared), **options)
        self.input_spec = keras.InputSpec(ndim=3)

    def inner_loop(
        self, sequences: Array, initial_state: Any, mask: Any, training: bool = False
    ) -> tuple[Array, Array, list[Array]]:
        """Run Keras's loop over time; the step's weights are sliced once, before the loop."""
        if isinstance(self.cell, MinimalCell):
            return run_all_steps(self, sequences, initial_state, mask, training)
        x, step = self.cell.over_time(sequences, training)
        return run_loop(self, step, x, initial_state, mask)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, those of the cell among them."""
        config = super().get_config()
        del config["cell"]
        cell_config = self.cell.get_config()
        return {**config, **{k: v for k, v in cell_config.items() if k in self.cell_options}}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build the layer from `get_config()`."""
        return cls(**config)

    @classmethod
    def from_keras(cls, layer: keras.layers.RNN) -> Self:
        """Convert Keras's layer to this class: its options, its convention, a copy of its weights.

        Weights that Keras's layer does not have, such as peepholes, have their initial values.

        Raises:
            TypeError: `layer` is not Keras's own layer of this kind.
        """
        if type(layer) is not cls.keras_class:
            raise TypeError(
                f"`layer` must be a keras.layers.{cls.keras_class.__name__} itself, since a "
                f"subclass may compute something else. Received: {layer!r}"
            )
        gated = cls(**{**layer.get_config(), **cls.keras_convention})
        if layer.built:
            batch = layer.states[0].shape[0] if layer.stateful else None
            gated.build((batch, None, layer.cell.kernel.shape[0]))
            by_name = {w.name: w for w in gated.cell.weights}
            for weight in layer.cell.weights:
                by_name[weight.name].assign(weight)
        return gated


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
        super().__init__(**_arguments(locals()))


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
        super().__init__(**_arguments(locals()))


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
        super().__init__(**_arguments(locals()))


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
        super().__init__(**_arguments(locals()))


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
        super().__init__(**_arguments(locals()))


# The layers by name, as arguments and commands spell them.
CELLS: dict[str, Callable[..., GatedRNN]] = {
    layer.__name__: layer for layer in (LSTM, PeepholeLSTM, GRU, MinGRU, MinLSTM)
}
FROM_KERAS: dict[type, type[GatedRNN]] = {keras.layers.LSTM: LSTM, keras.layers.GRU: GRU}


def to_gated(layer: keras.layers.RNN) -> keras.layers.RNN:
    """Convert a `keras.layers.LSTM` or `GRU` to kgated's layer; return any other as it is."""
    return FROM_KERAS[type(layer)].from_keras(layer) if type(layer) in FROM_KERAS else layer
