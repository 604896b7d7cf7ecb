"""What the cells share: checks of arguments, dropout, and the step as a function for a loop."""

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import keras
from keras import ops

from kgated import steps
from kgated.steps import Array, Function, Points

register = keras.saving.register_keras_serializable(package="kgated")

States = list[Array]
# (x (B, F), the state (B, P or U) as the gates see it, states) -> (output, new states)
Step = Callable[[Array, Array, States], tuple[Array, States]]
# (x (B, F), states) -> (output, new states)
LoopStep = Callable[[Array, States], tuple[Array, States]]


def choose(argument: str, value: Any, options: dict[Any, Any]) -> Any:
    """Return `options[value]`, or raise a ValueError that names the argument and the choices."""
    if value not in options:
        raise ValueError(f"`{argument}` must be one of {list(options)}. Received: {value!r}")
    return options[value]


def check_size(argument: str, value: Any) -> int:
    """Return `value` as an int, or raise a ValueError where it is no integer of at least 1."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"`{argument}` must be an integer of at least 1. Received: {value!r}")
    return int(value)


def check_rate(argument: str, value: Any) -> float:
    """Return `value`, or raise a ValueError where it is no share of inputs to drop."""
    if not isinstance(value, Real) or not 0.0 <= float(value) < 1.0:
        raise ValueError(f"`{argument}` must be a number from 0 to below 1. Received: {value!r}")
    return float(value)


def check_flag(argument: str, value: Any) -> bool:
    """Return `value`, or raise a ValueError where it is neither True nor False."""
    return bool(choose(argument, value, {True: True, False: False}))


def tensor(weight: Any) -> Array | None:
    """A weight as a plain tensor of the precision computed in; None where there is no weight."""
    return None if weight is None else ops.convert_to_tensor(weight)


def on_tensorflow_cpu() -> bool:
    """Whether Keras computes by TensorFlow's operations on a CPU."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_logical_devices("GPU")


class GatedCell(keras.Layer):
    """What a cell does with its step: one step, one step in training, one step of a loop.

    A subclass has `prepare`. Comes before one of Keras's cells among the bases of a class.
    """

    dropout: float
    recurrent_dropout: float
    at: Points = steps.EXACT

    @property
    def state_points(self) -> tuple[str, ...]:
        """The points whose values the states are, in their order."""
        return ("h",)

    def prepare(
        self,
        affine: Function = steps.affine,
        batch: int | None = None,
        at: Points | None = None,
    ) -> Step:
        """The step as a function, with the weights sliced once.

        Args:
            affine: from W, R, b and `at` to `x·W + h·R + b` as a function of x and h.
            batch: B, for a loop over many steps: weights that meet (B, U) are spread over it once.
            at: what happens to each value on its way; None: the cell's own `at`.
        """
        raise NotImplementedError

    def step(
        self, x: Array, states: States, affine: Function = steps.affine
    ) -> tuple[Array, States]:
        """One step without dropout: x (B, F), states as the cell takes them."""
        return self.prepare(affine)(x, states[0], states)

    def over_time(self, x: Array, training: bool = False) -> tuple[Array, LoopStep]:
        """What a loop over time takes: its frames, and one step on weights sliced once.

        Args:
            x: (B, T, F).
            training: with dropout, whose masks are the same at all steps.
        """
        if training and self.dropout:
            x = x * ops.expand_dims(self.get_dropout_mask(x[:, 0]), axis=1)
        x, affine = self._product_over_time(x, training)
        return x, self._seen(self.prepare(affine, batch=ops.shape(x)[0]), training)

    def over_rows(self, frames: Array, at: Points | None = None) -> tuple[list[Array], Step]:
        """The products of all frames (..., F) by one wide product, and a step on the rest of it.

        Returns:
            Arrays (..., N) with a row per frame, and the step, whose x is a row of each.
        """
        products: list[Array] = []

        def affine(W: Array, R: Array, b: Array | None, at: Points) -> Function:
            W, b = at.weights("xW", W, b)
            products.append(at("xW", steps.plus_bias(ops.matmul(frames, W), b)))
            place, of_state = len(products) - 1, steps.recurrent(R, at)
            return lambda rows, h: of_state(rows[place], h)

        step = self.prepare(affine, at=at)
        if products:
            return products, step
        return [frames], lambda rows, seen, states: step(rows[0], seen, states)

    def _product_over_time(self, x: Array, training: bool) -> tuple[Array, Function]:
        """The fastest of the products that are the same, and x as it takes it."""
        if not on_tensorflow_cpu():
            return x, steps.affine
        # The sum with a bias and its gradient cost more at each step than a row of the product,
        # and the gradient of one wide product more than those of two.
        affine = steps.affine if training else steps.affine_joined
        return steps.ends_in_one(x), steps.bias_as_row(affine)

    def _seen(self, step: Step, training: bool) -> LoopStep:
        """The step with what the gates see of the state: all of it, or a part by dropout."""

        def on_states(x: Array, states: States) -> tuple[Array, States]:
            seen = states[0]
            if training and self.recurrent_dropout:
                seen = seen * self.get_recurrent_dropout_mask(seen)
            return step(x, seen, states)

        return on_states

    def call(self, inputs: Array, states: Any, training: bool = False) -> tuple[Array, Any]:
        """One step, with dropout when `training`; a state outside a list stays so."""
        listed = keras.tree.is_nested(states)
        if training and self.dropout:
            inputs = inputs * self.get_dropout_mask(inputs)
        step = self._seen(self.prepare(), training)
        output, new = step(inputs, list(states) if listed else [states])
        return output, new if listed else new[0]

    def _checked(self, units: Any, options: dict[str, Any]) -> int:
        """U, after a check of what Keras's constructor would take and clip."""
        for name in ("dropout", "recurrent_dropout"):
            check_rate(name, options.get(name, 0.0))
        return check_size("units", units)

    def _one_mask_for_all_gates(self) -> None:
        """Undo what Keras's constructor makes of `recurrent_dropout`: a mask for each gate."""
        self.implementation, self.dropout_mask_count = 2, None
