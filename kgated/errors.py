"""The errors a user of kgated can meet beside ValueError and TypeError."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any


class ConversionError(Exception):
    """A model can't be converted as asked; the message has the reason and a remedy."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message that says something."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), repr(error))


def cause(error: BaseException) -> str:
    """The first line of a message that is no heading of Keras or TensorFlow, without colors."""
    plain = re.sub(r"\x1b\[\d+m", "", str(error))
    plain = re.split(r"\n\s*\w*Error: ", plain, maxsplit=1)[-1]  # after TensorFlow's "in user code"
    plain = re.sub(r"\{\{[^}]*\}\} ?", "", plain)
    lines = (line.strip() for line in plain.splitlines())
    headings = ("Exception encountered when calling", "Could not automatically infer")
    return next((x for x in lines if x and not x.startswith(headings)), type(error).__name__)


WHERE = "on tensors of fixed shapes"
ADVICE = "build it of Keras layers and `keras.ops`, or compute it before or after the model"


@contextlib.contextmanager
def naming_layer(layer: Any, where: str = WHERE, advice: str = ADVICE) -> Iterator[None]:
    """Turn any error of a layer's call into a ConversionError that names the layer.

    Args:
        layer: a layer, or an operation of `keras.ops`.
        where: it fails.
        advice: what the user can do.
    """
    try:
        yield
    except ConversionError:
        raise
    except Exception as error:
        raise ConversionError(
            f"layer `{layer.name}` ({type(layer).__name__}) fails {where}: {cause(error)}; {advice}"
        ) from error
