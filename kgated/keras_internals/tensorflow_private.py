"""The only module that uses TensorFlow beyond its public interface."""

from collections.abc import Callable, Mapping
from typing import Any


def dynamic_update_slice(target: Any, update: Any, start: Any) -> Any:
    """The tensor with another one written into it at `start`, as one TFLite operator.

    `tf.tensor_scatter_nd_update`, the public way, becomes an operator without an integer kernel.
    """
    from tensorflow.compiler.tf2xla.python import xla

    return xla.dynamic_update_slice(target, update, start)


def custom_operator(name: str, attributes: Mapping[str, str]) -> Callable[[Any], Any]:
    """A decorator: the TFLite converter writes the function as one custom operator, inputs and all.

    Args:
        name: of the operator in the file.
        attributes: texts that go into its options; quotes and backslashes are not escaped.
    """
    import tensorflow as tf

    texts = [f'attr {{ key: "{key}" value {{ s: "{text}" }} }}' for key, text in attributes.items()]
    fusable = 'attr { key: "tfl_fusable_op" value { b: true } }'
    implements = f'name: "{name}" {fusable} {" ".join(texts)}'

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        traced = tf.function(function, experimental_implements=implements, autograph=False)
        return without_tracing_warning(traced)

    return decorate


def without_tracing_warning(traced: Any) -> Callable[..., Any]:
    """A function of TensorFlow that is made for each model, called without a warning of that.

    TensorFlow warns when functions of one place in the code are traced five times, as those of
    several models are. It counts the calls, and not the requests of a concrete function.
    """
    return lambda *inputs: traced.get_concrete_function(*inputs)(*inputs)
