"""The variables of a training step."""

from typing import Any

import keras


def build_for_training(model: keras.Model, batch: Any) -> None:
    """Make the variables of the metrics and of the optimizer, before `fit` traces a step.

    Keras on JAX and on PyTorch, and over several devices, does so when `fit` begins. On TensorFlow
    it makes them while it traces the step, and then traces the step once more. The numbers of the
    training are the same.

    Args:
        model: a compiled model.
        batch: what one batch of the data gives: (x, y) or (x, y, sample_weight).
    """
    if keras.backend.backend() == "tensorflow" and model._distribute_strategy is None:
        model._symbolic_build(data_batch=batch)
