"""tf_keras counterparts of kgated's cells: the same equations, on weights that tf_keras tracks.

Each twin contains one of kgated's cells. At each step, the contained cell computes with the twin's
weights, or with the tensors by which tfmot has replaced them.
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
    """Hides an object from tf_keras, which would otherwise track the object's weights."""

    def __init__(self, cell: Any) -> None:
        self.cell = cell


class Twin:
    """Base of the twins; precedes a tf_keras cell in the bases, which provides dropout masks.

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
            raise ValueError("`dtype` must be float32: twins have no mixed precision")
        self._hidden = _Hidden(cell)
        self.state_size, self.output_size = cell.state_size, cell.output_size

    def build(self, input_shape: Any) -> None:
        """Create the weights for inputs of shape (B, F), with the initializers of kgated's cell."""
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

    # AutoGraph can't read the source of lambdas and would log long warnings.
    @tf.autograph.experimental.do_not_convert
    def call(self, inputs: Any, states: Any, training: Any = None) -> tuple[Any, Any]:
        """One step of kgated's cell, with dropout when `training`."""
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
    """The twin of `kgated.GRUCell`, with its keyword arguments; tf_keras's own cell differs."""

    kgated_class = cells.GRUCell


@register
class TwinMinGRUCell(Twin, tf_keras.layers.SimpleRNNCell):
    """The twin of `kgated.MinGRUCell`, with its arguments by name."""

    kgated_class = cells.MinGRUCell


@register
class TwinMinLSTMCell(Twin, tf_keras.layers.SimpleRNNCell):
    """The twin of `kgated.MinLSTMCell`, with its arguments by name."""

    kgated_class = cells.MinLSTMCell
