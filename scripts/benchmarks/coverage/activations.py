"""A row for each activation of `keras.activations`."""

import inspect
from typing import Any

import keras

from benchmarks.coverage.excluded import ACTIVATIONS
from benchmarks.coverage.rows import SUBJECT, Row, frames, raw


def names() -> list[str]:
    """The names of all activations of Keras, without aliases."""
    public = {
        name: function
        for name, function in inspect.getmembers(keras.activations, inspect.isfunction)
        if name not in ACTIVATIONS and not name.startswith("_")
    }
    return sorted({function.__name__ for function in public.values()})


def _threshold(x: Any) -> Any:
    return keras.activations.threshold(x, 0.3, 0.1)


def _row(name: str) -> Row:
    function = _threshold if name == "threshold" else name

    def call(y: Any) -> Any:
        return keras.layers.Activation(function, name=SUBJECT)(y)

    # Keras infers that the output of `glu` is as wide as its input, so no layer can follow.
    return raw(name, call) if name == "glu" else frames(name, call)


ROWS = [_row(name) for name in names()]
