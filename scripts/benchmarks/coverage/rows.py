"""The rows of the table: small models with one layer between two Dense layers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

FRAMES, FEATURES, TOKENS = 6, 4, 7
SUBJECT = "subject"  # the name of the layer that a row is about
Call = Callable[[Any], Any]


@dataclass(frozen=True)
class Row:
    """A model for one layer, or for one activation.

    Attributes:
        name: the class of the layer, and its variant in parentheses.
        model: builds the model.
    """

    name: str
    model: Callable[[], keras.Model]

    @property
    def subject(self) -> str:
        """The class of the layer, or the name of the activation."""
        return self.name.split(" ")[0]


def frames(name: str, call: Call, length: int | None = None, width: int = FEATURES) -> Row:
    """A row whose layer stands between two Dense layers and reads features (B, T, F).

    Args:
        name: of the row.
        call: from the features to the layer's result.
        length: T, if the layer needs it.
        width: F.
    """

    def model() -> keras.Model:
        x = keras.Input((length, width))
        y = call(keras.layers.Dense(width, name="before")(x))
        return keras.Model(x, keras.layers.Dense(3, name="after")(y))

    return Row(name, model)


def images(name: str, call: Call, length: int | None = None, size: int = 4) -> Row:
    """A row whose layer reads images (B, T, H, W, C), such as those of a video."""

    def model() -> keras.Model:
        x = keras.Input((length, size, size, 2))
        y = call(keras.layers.Dense(2, name="before")(x))
        return keras.Model(x, keras.layers.Dense(3, name="after")(y))

    return Row(name, model)


def tokens(name: str, call: Call, length: int | None = None) -> Row:
    """A row whose layer reads tokens (B, T)."""

    def model() -> keras.Model:
        x = keras.Input((length,), dtype="int32")
        return keras.Model(x, keras.layers.Dense(3, name="after")(call(x)))

    return Row(name, model)


def raw(name: str, call: Call, shape: tuple[int | None, ...] = (None, FEATURES)) -> Row:
    """A row whose layer is the whole model."""

    def model() -> keras.Model:
        x = keras.Input(shape)
        return keras.Model(x, call(x))

    return Row(name, model)


def build(row: Row) -> keras.Model:
    """The model with seeded random weights, none of them at its initial value."""
    keras.utils.set_random_seed(0)
    model, rng = row.model(), np.random.default_rng(1)
    for weight in model.weights:
        if "float" not in weight.dtype or "seed" in weight.path:
            continue
        value = np.asarray(keras.ops.convert_to_numpy(weight))
        value = value + rng.normal(0, 0.2, weight.shape)
        weight.assign(np.abs(value) + 0.1 if "variance" in weight.path else value)
    return model


def data_for(model: keras.Model, count: int = 8) -> np.ndarray:
    """Seeded sequences for a model of one input; where it has a mask, with masked frames."""
    (x,), rng = model.inputs, np.random.default_rng(2)
    shape = (count, x.shape[1] or FRAMES, *x.shape[2:])
    is_ids = x.dtype == "int32"
    data = rng.integers(1, TOKENS, shape) if is_ids else rng.normal(size=shape)
    if any(map(_has_mask, model.layers)):
        data[1::2, -2:] = 0  # at the end
        data[2::4, 1] = 0  # inside
    return data.astype(np.int32 if is_ids else np.float32)


def _has_mask(layer: keras.Layer) -> bool:
    return isinstance(layer, keras.layers.Masking) or getattr(layer, "mask_zero", False)
