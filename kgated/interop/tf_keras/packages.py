"""tf_keras and tensorflow-model-optimization, imported so that the process stays as it was.

Importing tfmot sets TF_USE_LEGACY_KERAS, which turns the `tf.keras` of the whole process, and of
every child of it, into tf_keras.
"""

import importlib
import os
from typing import Any

import keras

SWITCH = "TF_USE_LEGACY_KERAS"


def _imported() -> tuple[Any, Any]:
    if keras.backend.backend() != "tensorflow":
        raise ImportError(
            "kgated.interop.tf_keras computes with TensorFlow, and Keras's backend is "
            f"{keras.backend.backend()!r}: set KERAS_BACKEND=tensorflow"
        )
    import tensorflow as tf

    before = os.environ.get(SWITCH)
    _ = tf.keras.layers  # found once and for all when it is first asked for: before the switch
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
