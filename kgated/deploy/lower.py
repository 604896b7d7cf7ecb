"""A step model becomes a flatbuffer of builtin ops: the one place that calls the converter."""

import tempfile
from typing import Any

import keras
import numpy as np

from kgated.deploy import internal
from kgated.deploy.recipe import Recipe
from kgated.deploy.scopes import call_in_scopes
from kgated.deploy.streaming import StepModel
from kgated.errors import ConversionError, first_line

SIGNATURE = "step"


def lower(step: StepModel, recipe: Recipe) -> bytes:
    """The float `.tflite` file of a step model, without manifest.

    Needs the TensorFlow backend of Keras.

    Raises:
        ConversionError: the converter refuses the graph, or an op is no builtin.
    """
    try:
        return _float_flatbuffer(step, recipe.state)
    except Exception as error:
        raise ConversionError(
            f"the TFLite converter failed with recipe {recipe.name}: {first_line(error)}"
        ) from error


def _float_flatbuffer(step: StepModel, state: str) -> bytes:
    import tensorflow as tf

    module = tf.Module()
    # Weights go in as constants: a frozen graph needs no variables in the file.
    constants = [(v, tf.constant(np.asarray(v))) for v in step.model.variables]

    @tf.function
    def call(**tensors: Any) -> dict[str, Any]:
        with keras.StatelessScope(state_mapping=constants):
            outputs = call_in_scopes(step.model, tensors, step.owners)
        return {name: tf.identity(tensor) for name, tensor in outputs.items()}

    specs = {n: tf.TensorSpec(x.shape, x.dtype, name=n) for n, x in step.model.input.items()}
    if state == "internal":
        return internal.step_first(_convert(module, internal.signatures(module, step, call)))
    return _convert(module, {SIGNATURE: call.get_concrete_function(**specs)})


def _convert(module: Any, signatures: dict[str, Any]) -> bytes:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=signatures)
        names = list(signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=names)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.experimental_enable_resource_variables = True
        return bytes(converter.convert())
