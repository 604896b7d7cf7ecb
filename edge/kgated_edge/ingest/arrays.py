"""Frames stored as NumPy arrays."""

from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from kgated_edge.errors import DataError, damage
from kgated_edge.format.tensor_spec import Array, TensorSpec


def stored_frames(stream: IO[bytes], form: str, spec: TensorSpec) -> Iterator[Array]:
    """Yields the frames of an array.

    Args:
        stream: a file, or a pipe, which is read whole.
        form: "npy": an array (T, *frame) or (N, T, *frame); "npz": `x` of such a shape, and
            `lengths` (N,) where sequences are padded.
        spec: one frame.

    Raises:
        DataError: no such array, or of another shape or dtype.
    """
    for row in _sequences(_load(stream, form), spec):
        # A number too large for float32 becomes inf, which the model refuses.
        with np.errstate(over="ignore"):
            frames = np.ascontiguousarray(row, spec.real.dtype)
        yield from frames


def _load(stream: IO[bytes], form: str) -> dict[str, Array]:
    try:
        if form == "npy":
            return {"x": np.asarray(np.lib.format.read_array(stream, allow_pickle=False))}
        with np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in ("x", "lengths") if name in archive.files}
    # NumPy and zipfile raise a dozen kinds of exception on damaged bytes.
    except Exception as error:
        raise DataError(
            f"this is not an intact .{form} file ({damage(error)}): save it again"
        ) from None


def _sequences(arrays: dict[str, Array], spec: TensorSpec) -> Iterator[Array]:
    x: Any = arrays.get("x")
    if x is None:
        raise DataError("the .npz file has no array `x`: save the frames under this name")
    is_alike = x.dtype.kind in ("iu" if spec.real.dtype == "int32" else "f")
    if not is_alike or x.shape[max(0, x.ndim - len(spec.shape)) :] != spec.shape:
        raise DataError(
            f"frames must be (T, *{spec.shape}) or (N, T, *{spec.shape}) of {spec.real.dtype}, "
            f"got {x.shape} {x.dtype}: save the frames of this model"
        )
    axes = x.ndim - len(spec.shape)
    if axes not in (1, 2):
        raise DataError(
            f"frames must be (T, *{spec.shape}) or (N, T, *{spec.shape}), got {x.shape}"
        )
    rows = x if axes == 2 else x[None]
    lengths = np.asarray(arrays.get("lengths", np.full(len(rows), rows.shape[1])))
    if lengths.shape != (len(rows),) or lengths.dtype.kind not in "iu":
        raise DataError(f"`lengths` must be ({len(rows)},) integers, got {lengths.shape}")
    for row, length in zip(rows, lengths.tolist(), strict=True):
        yield row[: max(0, length)]
