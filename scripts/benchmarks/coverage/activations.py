"""A row for each activation of `keras.activations`."""

import inspect

import keras
from benchmarks.coverage.excluded import ACTIVATIONS
from benchmarks.coverage.rows import SUBJECT, Row, frames


def names() -> list[str]:
    """The names of all activations that Keras has, aliases once."""
    public = {
        name: function
        for name, function in inspect.getmembers(keras.activations, inspect.isfunction)
        if name not in ACTIVATIONS and not name.startswith("_")
    }
    return sorted({function.__name__ for function in public.values()})


def _row(name: str) -> Row:
    return frames(name, lambda y: keras.layers.Activation(name, name=SUBJECT)(y))


ROWS = [_row(name) for name in names()]
