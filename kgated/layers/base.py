"""The base of the layers: `keras.layers.RNN` over a kgated cell."""

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, Self, TypeAlias

import keras
from keras import ops

from kgated.cells import MinimalCell
from kgated.cells.base import LoopStep
from kgated.steps import Array

Activation: TypeAlias = str | Callable[..., Any] | None
Initializer: TypeAlias = str | keras.initializers.Initializer
Regularizer: TypeAlias = str | keras.regularizers.Regularizer | None
Constraint: TypeAlias = str | keras.constraints.Constraint | None


def arguments_of(names: dict[str, Any]) -> dict[str, Any]:
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

    Args:
        layer: whose `unroll`, `go_backwards` and `zero_output_for_mask` apply.
        step: (x (B, ...), states) to (output, states).
        x: (B, T, ...).
        states: initial states, (B, U) each.
        mask: (B, T) boolean, or None.

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
