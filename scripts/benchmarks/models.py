"""The models that are measured: a single layer, which other runtimes have too."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

import kgated

Sizes = tuple[tuple[int, int], ...]  # (F, U)
CELLS = ("LSTM", "PeepholeLSTM", "GRU")
SIZES: Sizes = ((40, 128), (128, 512))


def model_of(cell: str, features: int, units: int, each: bool = True) -> keras.Model:
    """A model of a single layer."""
    keras.utils.set_random_seed(0)
    # Peepholes start at zero, and XNNPACK skips products with zeros.
    drawn = keras.initializers.RandomUniform(-0.3, 0.3)
    options = {"peephole_initializer": drawn} if cell == "PeepholeLSTM" else {}
    layer = getattr(kgated, cell)(units, return_sequences=each, **options)
    return keras.Sequential([keras.Input((None, features)), layer])


def noise(steps: int, features: int, count: int | None = None) -> np.ndarray:
    """Frames (T, F), or (count, T, F)."""
    shape = (steps, features) if count is None else (count, steps, features)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def to_file(model: keras.Model, path: Path, quantize: str, **options: Any) -> Path:
    """Convert, with noise as calibration data, which does not affect the time."""
    steps = options.get("length", 32)
    calibration = noise(steps, model.inputs[0].shape[-1], 4)
    kgated.to_tflite(model, path, quantize=quantize, calibration=calibration, **options)
    return path
