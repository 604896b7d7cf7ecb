"""Generate the model files of `tests/edge/fixtures`, and two of `tests/web/fixtures`.

In `tests/edge` each consists of NAME.tflite, converted by kgated, and NAME.npz with the weights and
a sequence of frames, from which the tests compute the outputs independently. The models are seeded:
running the script again generates models that compute the same.
"""

import argparse
from pathlib import Path
from typing import Any

import keras
import numpy as np

import kgated

FIXTURES = Path(__file__).parents[1] / "tests" / "edge" / "fixtures"
WEB = FIXTURES.parents[1] / "web" / "fixtures"
FRAMES = 12


def speech() -> tuple[keras.Model, np.ndarray]:
    """Float frames (3,) to two classes."""
    layers = [
        keras.Input((None, 3)),
        kgated.LSTM(4, name="lstm"),
        keras.layers.Dense(2, activation="softmax", name="dense"),
    ]
    frames = np.random.default_rng(1).normal(size=(FRAMES, 3)).astype(np.float32)
    return keras.Sequential(layers, name="speech"), frames


def text() -> tuple[keras.Model, np.ndarray]:
    """Tokens 0..4 to the distribution of the next one."""
    layers = [
        keras.Input((None,), dtype="int32"),
        keras.layers.Embedding(5, 3, name="embedding"),
        kgated.LSTM(4, return_sequences=True, name="lstm"),
        keras.layers.Dense(5, activation="softmax", name="dense"),
    ]
    frames = np.random.default_rng(2).integers(5, size=FRAMES).astype(np.int32)
    return keras.Sequential(layers, name="text"), frames


def blocks() -> tuple[keras.Model, dict[str, np.ndarray]]:
    """A model of two inputs, (3,) and tokens 0..4, two outputs, and two frames per step."""
    sound, word = keras.Input((None, 3), name="sound"), keras.Input((None,), name="word")
    embedded = keras.layers.Embedding(5, 2, name="embedding")(word)
    features = keras.layers.Concatenate()([sound, embedded])
    convolution = keras.layers.Conv1D(4, 3, strides=2, padding="causal", name="convolution")
    hidden = kgated.LSTM(4, return_sequences=True, name="lstm")(convolution(features))
    each = keras.layers.Dense(2, activation="softmax", name="each")(hidden)
    average = keras.layers.GlobalAveragePooling1D()(hidden)
    sequence_result = keras.layers.Dense(3, name="whole")(average)
    rng = np.random.default_rng(5)
    frames = {
        "sound": rng.normal(size=(FRAMES, 3)).astype(np.float32),
        "word": rng.integers(5, size=FRAMES).astype(np.int32),
    }
    return keras.Model([sound, word], [each, sequence_result], name="blocks"), frames


def each_frame() -> keras.Model:
    """Float frames (3,) to two classes, a result per frame."""
    layers = [
        keras.Input((None, 3)),
        kgated.LSTM(4, return_sequences=True, name="lstm"),
        keras.layers.Dense(2, activation="softmax", name="dense"),
    ]
    return keras.Sequential(layers, name="each_frame")


def spread(model: keras.Model, seed: int) -> None:
    """Replace the weights by larger ones, so that the outputs change from frame to frame."""
    rng = np.random.default_rng(seed)
    shapes = [weight.shape for weight in model.get_weights()]
    model.set_weights([rng.normal(0.0, 1.2, shape).astype(np.float32) for shape in shapes])


def save(model: keras.Model, frames: Any, name: str, **facts: Any) -> None:
    """Write one model and the arrays from which its outputs are computed."""
    kgated.to_tflite(model, FIXTURES / f"{name}.tflite", **facts)
    weights: dict[str, Any] = {
        f"{layer.name}_{weight.path.split('/')[-1]}": np.asarray(weight)
        for layer in model.layers
        for weight in layer.weights
    }
    arrays = frames if isinstance(frames, dict) else {"frames": frames}
    np.savez(FIXTURES / f"{name}.npz", **arrays, **weights)


def main() -> None:
    """Generate all fixtures."""
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    FIXTURES.mkdir(exist_ok=True)
    keras.utils.set_random_seed(0)
    model, frames = speech()
    spread(model, 3)
    save(model, frames, "speech", labels=["yes", "no"], sample_period_s=0.01)
    save(model, frames, "inside", state="internal")
    save(model, frames, "whole", mode="sequence", max_length=9, sample_period_s=0.01)
    save(model, frames, "fixed", mode="sequence", length=5)
    WEB.mkdir(exist_ok=True)
    kgated.to_tflite(model, WEB / "fused.tflite", mode="sequence", length=5, lowering="fused")
    calibration = np.random.default_rng(7).normal(size=(32, 20, 3)).astype(np.float32)
    for quantize in ("int8", "int16x8"):
        save(model, frames, quantize, quantize=quantize, calibration=calibration)
    model = each_frame()
    spread(model, 8)
    kgated.to_tflite(model, WEB / "block.tflite", block=4)
    model, frames = text()
    spread(model, 4)
    save(model, frames, "text")
    save(model, frames, "each", mode="sequence", max_length=9)
    model, several = blocks()
    spread(model, 6)
    save(model, several, "blocks", labels=["yes", "no"], sample_period_s=0.01)


if __name__ == "__main__":
    main()
