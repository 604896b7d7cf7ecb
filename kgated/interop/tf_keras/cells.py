"""Twins of the cells in tf_keras: the same equations, on weights that tf_keras knows.

A twin has one of our cells inside, whose variables stand for the twin's weights: at each step the
weights, or what tfmot has put in their places, are what our cell computes with.
"""

from typing import Any, ClassVar, cast

import keras
import tensorflow as tf

from kgated import cells
from kgated.interop.tf_keras.packages import tf_keras

register = tf_keras.utils.register_keras_serializable(package="kgated")
BY_DEFAULT = ("kernel", "recurrent_kernel", "projection_kernel")  # what `kgated.prune` takes
OF_KERAS = ("name", "dtype", "trainable")


class _Hidden:
    """Holds what tf_keras shall not look into for weights of its own."""

    def __init__(self, cell: Any) -> None:
        self.cell = cell


class Twin:
    """What the twins share; comes before one of tf_keras's cells, which have masks for dropout.

    Args:
        units: U.
        options: keyword arguments of the cell's constructor in `kgated`.
    """

    kgated_class: ClassVar[type[cells.base.GatedCell]]

    def __init__(self, units: int, name: str | None = None, **options: Any) -> None:
        of_keras = {k: options.pop(k) for k in ("dtype", "trainable") if k in options}
        cell: Any = self.kgated_class(units, **options)
        rates = {"dropout": cell.dropout, "recurrent_dropout": cell.recurrent_dropout}
        super().__init__(units, **rates, name=name, **of_keras)  # type: ignore[call-arg]
        if self.compute_dtype != "float32":  # type: ignore[attr-defined]
            raise ValueError("`dtype` must be float32: the twins have no mixed precision")
        self._hidden = _Hidden(cell)
        self.state_size, self.output_size = cell.state_size, cell.output_size

    def build(self, input_shape: Any) -> None:
        """Create the weights for inputs of shape (B, F), as our cell would draw them."""
        cell: Any = self._hidden.cell
        cell.build(tuple(input_shape))
        for weight in cell.weights:
            values = keras.ops.convert_to_numpy(weight)
            initializer = tf_keras.initializers.Constant(values)
            variable = self.add_weight(  # type: ignore[attr-defined]
                name=weight.name, shape=values.shape, initializer=initializer
            )
            setattr(self, weight.name, variable)
        self.built = True

    @tf.autograph.experimental.do_not_convert  # it has no source of lambdas, and says so at length
    def call(self, inputs: Any, states: Any, training: Any = None) -> tuple[Any, Any]:
        """One step, with dropout when `training`: as our cell's."""
        me, cell = cast(Any, self), self._hidden.cell
        listed = isinstance(states, list | tuple)
        states = list(states) if listed else [states]
        h = states[0]
        for_x = me.get_dropout_mask_for_cell(inputs, training, count=1)
        for_h = me.get_recurrent_dropout_mask_for_cell(h, training, count=1)
        inputs = inputs if for_x is None else inputs * for_x[0]
        h = h if for_h is None else h * for_h[0]
        mine = [(weight, getattr(self, weight.name)) for weight in cell.weights]
        with keras.StatelessScope(state_mapping=mine):
            output, new = cell.prepare()(inputs, h, states)
        return output, new if listed else new[0]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = tf_keras.layers.Layer.get_config(self)
        options = self._hidden.cell.get_config()
        return {**{k: v for k, v in options.items() if k not in OF_KERAS}, **config}


def matrices(cell: Any) -> list[str]:
    """The names of the weights that are pruned, clustered and quantized."""
    return [w.name for w in cell._hidden.cell.weights if w.name in BY_DEFAULT]


@register
class TwinLSTMCell(Twin, tf_keras.layers.LSTMCell):
    """The twin of `kgated.LSTMCell`, with its arguments by name."""

    kgated_class = cells.LSTMCell


@register
class TwinPeepholeLSTMCell(Twin, tf_keras.layers.LSTMCell):
    """The twin of `kgated.PeepholeLSTMCell`, with its arguments by name."""

    kgated_class = cells.PeepholeLSTMCell


@register
class TwinGRUCell(Twin, tf_keras.layers.GRUCell):
    """The twin of `kgated.GRUCell`, with its arguments by name; NOT the form of tf_keras's own."""

    kgated_class = cells.GRUCell


@register
class TwinMinGRUCell(Twin, tf_keras.layers.SimpleRNNCell):
    """The twin of `kgated.MinGRUCell`, with its arguments by name."""

    kgated_class = cells.MinGRUCell


@register
class TwinMinLSTMCell(Twin, tf_keras.layers.SimpleRNNCell):
    """The twin of `kgated.MinLSTMCell`, with its arguments by name."""

    kgated_class = cells.MinLSTMCell
