"""The errors a user of kgated can meet beside ValueError and TypeError."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any


class ConversionError(Exception):
    """A model can't become the `.tflite` file asked for; the message says why and the way out."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message that says something."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), repr(error))


def _cause(error: BaseException) -> str:
    """The first line of a message that is no heading of Keras, without colors."""
    plain = re.sub(r"\x1b\[\d+m", "", str(error))
    lines = (line.strip() for line in plain.splitlines())
    headings = ("Exception encountered when calling", "Could not automatically infer")
    return next((x for x in lines if x and not x.startswith(headings)), type(error).__name__)


@contextlib.contextmanager
def naming_layer(layer: Any) -> Iterator[None]:
    """Turn any error of a layer's call into a ConversionError that names the layer."""
    try:
        yield
    except ConversionError:
        raise
    except Exception as error:
        raise ConversionError(
            f"layer `{layer.name}` ({type(layer).__name__}) fails on tensors of fixed shapes: "
            f"{_cause(error)}; build it of Keras layers and `keras.ops`, or compute it before "
            "or after the model"
        ) from error
