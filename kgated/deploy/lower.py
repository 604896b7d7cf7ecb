"""A step model becomes a flatbuffer of builtin ops: the one place that calls the converter."""

import contextlib
import io
import tempfile
from typing import Any

import numpy as np

from kgated.deploy import internal
from kgated.deploy.recipe import Recipe
from kgated.deploy.streaming import StepModel
from kgated.errors import ConversionError

SIGNATURE = "step"


def lower(step: StepModel, recipe: Recipe) -> bytes:
    """The `.tflite` file of a step model, without manifest.

    Needs the TensorFlow backend of Keras.

    Raises:
        ConversionError: the converter refuses the graph, or an op is no builtin.
    """
    try:
        tflite = _float_flatbuffer(step, recipe.state)
        return _dynamic(tflite) if recipe.quantize == "dynamic" else tflite
    except Exception as error:
        first = next((line for line in str(error).splitlines() if line.strip()), repr(error))
        raise ConversionError(
            f"the TFLite converter failed with recipe {recipe.name}: {first.strip()}"
        ) from error


def _float_flatbuffer(step: StepModel, state: str) -> bytes:
    import tensorflow as tf

    module = tf.Module()
    # Weights go in as constants: a frozen graph needs no variables in the file.
    trainable = [tf.constant(np.asarray(v)) for v in step.model.trainable_variables]
    others = [tf.constant(np.asarray(v)) for v in step.model.non_trainable_variables]

    @tf.function
    def call(**tensors: Any) -> dict[str, Any]:
        outputs, _ = step.model.stateless_call(trainable, others, tensors, training=False)
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


def _dynamic(tflite: bytes) -> bytes:
    from ai_edge_quantizer import quantizer, recipe

    with contextlib.redirect_stdout(io.StringIO()):  # it prints a summary of its own
        job = quantizer.Quantizer(bytearray(tflite), recipe.dynamic_wi8_afp32())
        return bytes(job.quantize().quantized_model)
