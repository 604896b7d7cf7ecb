"""Checks of the outputs of a converted graph."""

from typing import Any

from kgated.errors import ConversionError


def check_output(name: str, x: Any, axes: int) -> None:
    """Refuse an output that is no float array of a known size.

    Args:
        name: of the output.
        x: its symbolic tensor.
        axes: how many of its axes stand before those of one result.

    Raises:
        ConversionError: with the shape and the dtype.
    """
    if None in x.shape or 0 in x.shape or len(x.shape) == axes or x.dtype != "float32":
        raise ConversionError(
            f"output `{name}` has shape {x.shape} and dtype {x.dtype}; needed are float32 "
            "numbers on an axis of their own, as many as are known beforehand"
        )


def first_axis(name: str, single: tuple[str, ...], is_sequence: bool) -> int:
    """How many axes stand before those of one result: the batch, and in a sequence the frames."""
    return 2 if is_sequence and name not in single else 1
