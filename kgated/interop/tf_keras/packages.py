"""Import tf_keras and tensorflow-model-optimization without side effects on the process.

Importing tfmot sets TF_USE_LEGACY_KERAS, which replaces `tf.keras` by tf_keras in the whole process
and in its child processes. This module restores the variable.
"""

import importlib
import os
from typing import Any

import keras

SWITCH = "TF_USE_LEGACY_KERAS"


def _imported() -> tuple[Any, Any]:
    if keras.backend.backend() != "tensorflow":
        raise ImportError(
            "kgated.interop.tf_keras needs TensorFlow, and Keras's backend is "
            f"{keras.backend.backend()!r}: set KERAS_BACKEND=tensorflow"
        )
    import tensorflow as tf

    before = os.environ.get(SWITCH)
    _ = (
        tf.keras.layers
    )  # `tf.keras` is resolved once, at its first use: do that before tfmot sets the variable
    try:
        return tuple(map(importlib.import_module, ("tf_keras", "tensorflow_model_optimization")))  # type: ignore[return-value]
    except ImportError as error:
        raise ImportError(f'{error}: pip install "kgated[tfmot]"') from error
    finally:
        if before is None:
            os.environ.pop(SWITCH, None)
        else:
            os.environ[SWITCH] = before


tf_keras, tfmot = _imported()
