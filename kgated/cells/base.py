"""Shared by the cells: checks of arguments, dropout, and the step as a function for a loop."""

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import keras
from keras import ops

from kgated import steps
from kgated.argument_checks import check_choice
from kgated.quantization_hook import QuantizationHook
from kgated.steps import Array, Function

register = keras.saving.register_keras_serializable(package="kgated")

States = list[Array]
# (x (B, F), the state (B, P or U) with recurrent dropout, states) -> (output, new states)
Step = Callable[[Array, Array, States], tuple[Array, States]]
# (x (B, F), states) -> (output, new states)
LoopStep = Callable[[Array, States], tuple[Array, States]]


def choose(argument: str, value: Any, options: dict[Any, Any]) -> Any:
    """Return `options[value]`, or raise a ValueError that names the argument and the choices."""
    check_choice(argument, value, options)
    return options[value]


def check_size(argument: str, value: Any) -> int:
    """Return `value` as an int, or raise a ValueError if it is no integer of at least 1."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"`{argument}` must be an integer of at least 1. Received: {value!r}")
    return int(value)


def check_rate(argument: str, value: Any) -> float:
    """Return `value`, or raise a ValueError if it is no fraction of inputs to drop."""
    if not isinstance(value, Real) or not 0.0 <= float(value) < 1.0:
        raise ValueError(f"`{argument}` must be a number from 0 to below 1. Received: {value!r}")
    return float(value)


def check_flag(argument: str, value: Any) -> bool:
    """Return `value`, or raise a ValueError if it is neither True nor False."""
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
    """The base of the cells: single steps, training with dropout, steps of a loop over time.

    A subclass implements `prepare`. Put it before Keras's cell among the bases of a class.
    """

    dropout: float
    recurrent_dropout: float
    hook: QuantizationHook = steps.EXACT

    @property
    def state_points(self) -> tuple[str, ...]:
        """The quantization points of the states, in the order of the states."""
        return ("h",)

    def prepare(
        self,
        affine: Function = steps.affine,
        batch: int | None = None,
        hook: QuantizationHook | None = None,
    ) -> Step:
        """The step as a function, with the weights sliced once.

        Args:
            affine: from W, R, b and `hook` returns `x·W + h·R + b` as a function of x and h.
            batch: B, for a loop over many steps: elementwise weights are broadcast to (B, U) once.
            hook: applied to the value at each quantization point; None: the cell's own `hook`.
        """
        raise NotImplementedError

    def step(
        self, x: Array, states: States, affine: Function = steps.affine
    ) -> tuple[Array, States]:
        """One step without dropout: x (B, F), states as the cell takes them."""
        return self.prepare(affine)(x, states[0], states)

    def over_time(self, x: Array, training: bool = False) -> tuple[Array, LoopStep]:
        """The frames and the step for a loop over time, with the weights sliced once.

        Args:
            x: (B, T, F).
            training: with dropout, whose masks are the same at all steps.
        """
        if training and self.dropout:
            x = x * ops.expand_dims(self.get_dropout_mask(x[:, 0]), axis=1)
        x, affine = self._product_over_time(x, training)
        return x, self._with_recurrent_dropout(
            self.prepare(affine, batch=ops.shape(x)[0]), training
        )

    def over_rows(
        self, frames: Array, hook: QuantizationHook | None = None
    ) -> tuple[list[Array], Step]:
        """Compute `x·W` for all frames (..., F) by one wide product; return the rest of the step.

        Returns:
            Arrays (..., N) with a row per frame, and the step, whose x is one row of each array.
        """
        products: list[Array] = []

        def affine(W: Array, R: Array, b: Array | None, hook: QuantizationHook) -> Function:
            W, b = hook.weights("xW", W, b)
            products.append(hook("xW", steps.plus_bias(ops.matmul(frames, W), b)))
            place, of_state = len(products) - 1, steps.recurrent(R, hook)
            return lambda rows, h: of_state(rows[place], h)

        step = self.prepare(affine, hook=hook)
        if products:
            return products, step
        return [frames], lambda rows, h_in, states: step(rows[0], h_in, states)

    def _product_over_time(self, x: Array, training: bool) -> tuple[Array, Function]:
        """The fastest of the equivalent `affine` functions, and x in the form that it takes."""
        if not on_tensorflow_cpu():
            return x, steps.affine
        # The sum with a bias and its gradient cost more at each step than a row of the product,
        # and the gradient of one wide product more than those of two.
        affine = steps.affine if training else steps.affine_joined
        return steps.ends_in_one(x), steps.bias_as_row(affine)

    def _with_recurrent_dropout(self, step: Step, training: bool) -> LoopStep:
        """The step as a function of x and the states, with dropout of the state in training."""

        def on_states(x: Array, states: States) -> tuple[Array, States]:
            h_in = states[0]
            if training and self.recurrent_dropout:
                h_in = h_in * self.get_recurrent_dropout_mask(h_in)
            return step(x, h_in, states)

        return on_states

    def call(self, inputs: Array, states: Any, training: bool = False) -> tuple[Array, Any]:
        """One step, with dropout when `training`; states are returned in the structure given."""
        listed = keras.tree.is_nested(states)
        if training and self.dropout:
            inputs = inputs * self.get_dropout_mask(inputs)
        step = self._with_recurrent_dropout(self.prepare(), training)
        output, new = step(inputs, list(states) if listed else [states])
        return output, new if listed else new[0]

    def _check_options(self, units: Any, options: dict[str, Any]) -> int:
        """Check the dropout rates, which Keras's constructor would clip, and return `units`."""
        for name in ("dropout", "recurrent_dropout"):
            check_rate(name, options.get(name, 0.0))
        return check_size("units", units)

    def _one_mask_for_all_gates(self) -> None:
        """Use one recurrent dropout mask, where Keras's constructor chose a mask for each gate."""
        self.implementation, self.dropout_mask_count = 2, None
