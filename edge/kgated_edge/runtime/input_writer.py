"""Checks frames and copies them into the input tensors of a model.

This runs before every step, so each writer is a closure over its tensor: local names are the
fastest to look up. A good frame passes few and fast checks. Only a frame that fails them is
examined again, to compose the error message.
"""

import operator
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kgated_edge.errors import FrameError
from kgated_edge.format.tensor_spec import Array, TensorSpec
from kgated_edge.runtime.bad_frames import LastGoodFrames
from kgated_edge.runtime.frame_errors import (
    BOOLS,
    cast_hint,
    describe,
    explain,
    frame_error,
    shape_text,
    takes_dtype,
)
from kgated_edge.runtime.quantization import storer
from kgated_edge.runtime.tensor_views import as_bytes

Writer = Callable[[Any], None]
_ALL = slice(None)
_TOP_BYTES = slice(3 if sys.byteorder == "little" else 0, None, 4)
_SMALL = 256


def step_writer(
    specs: Sequence[TensorSpec],
    targets: Mapping[str, Array],
    last_good: LastGoodFrames | None = None,
    frames: Sequence[TensorSpec] = (),
    finite: bool = True,
) -> Writer:
    """A function that checks the frames of one step and copies them into the input tensors.

    Args:
        specs: what one step takes of each input, a frame or a block of frames.
        targets: a view of each input tensor by name.
        last_good: replaces bad frames; None to refuse them.
        frames: with `last_good`, one frame of each input.
        finite: whether to check that numbers of a float tensor are finite; the caller does else.

    Returns:
        a function of the frame for one input, of a dict by name for several.
    """
    writers = {spec.name: frame_writer(spec, targets[spec.name], finite) for spec in specs}
    if last_good is not None:
        writers |= {f.name: last_good.writer(f, writers[f.name]) for f in frames if f.is_real}
    write = _dict_writer(writers) if len(specs) > 1 else writers[specs[0].name]
    return write if last_good is None else last_good.recording(write)


def frame_writer(spec: TensorSpec, target: Array, finite: bool = True) -> Writer:
    """A function that checks a frame and copies it into `target`.

    Args:
        spec: the frame, as the manifest describes it.
        target: a view of the input tensor, of shape `spec.shape`.
        finite: whether to check that the numbers of a float tensor are finite.

    Returns:
        a function of one frame. It raises `FrameError` for another shape or dtype, for NaN and inf,
        and for a token outside the vocabulary. For a quantized tensor it takes float32, which it
        quantizes, or the tensor's own integers.
    """
    if spec.is_quantized:
        return _quantizing_writer(spec, target)
    if spec.is_token:
        return _token_writer(spec, target, spec.vocabulary or 0)
    if spec.vocabulary is not None:
        return _ids_writer(spec, target)
    if not finite:
        return _unchecked_writer(spec, target)
    is_plain = target.ndim == 1 and target.size <= _SMALL
    if is_plain:
        return _vector_writer(spec, target)
    return _array_writer(spec, target, _finite_check(target))


def check_frames(spec: TensorSpec, frames: Any, finite: bool = True) -> None:
    """Checks a whole sequence (T, *spec.shape); with `finite` false, not for NaN and inf.

    Raises:
        FrameError: another shape or dtype, or a frame that no step accepts.
    """
    is_stored = isinstance(frames, np.ndarray) and frames.dtype == spec.dtype
    spec = spec if is_stored else spec.real
    expected = f"an array of shape {shape_text('T', *spec.shape)} and dtype {spec.dtype}"
    if not isinstance(frames, np.ndarray) or frames.shape[1:] != spec.shape or frames.ndim == 0:
        raise frame_error(f"frames must be {expected}", frames, "reshape it")
    if not takes_dtype(spec, frames):
        raise frame_error(f"frames must be {expected}", frames, cast_hint(spec, "frames"))
    # A reduction over all axes is five times as fast as one per frame.
    if spec.vocabulary is None and (not finite or np.isfinite(frames).all()):
        return
    bad = bad_frames(spec, frames)
    if bad.any():
        at = int(bad.argmax())
        error = explain(spec, frames[at])
        raise type(error)(f"frame {at}: {error}")


def bad_frames(spec: TensorSpec, frames: Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which of the frames (..., *spec.shape) hold NaN or inf, or a token outside the vocabulary."""
    if spec.vocabulary is not None:
        return np.asarray((frames < 0) | (frames >= spec.vocabulary))
    axes = tuple(range(frames.ndim - len(spec.shape), frames.ndim))
    return np.asarray(~np.isfinite(frames).all(axis=axes))


def _vector_writer(spec: TensorSpec, target: Array) -> Writer:
    # Assignment to a memoryview checks shape and dtype itself, in half of NumPy's time.
    # `_small_check` is inlined, to save a call.
    memory, content, top = target.data, as_bytes(target).tobytes, _TOP_BYTES
    write_any = _array_writer(spec, target, _small_check(target))

    def write(frame: Any) -> None:
        try:
            memory[_ALL] = frame
        except (TypeError, ValueError):
            # Invalid, or valid but unaligned, which a memoryview does not read.
            return write_any(frame)
        tops = content()[top]
        if (127 in tops or 255 in tops) and not np.isfinite(target).all():
            raise explain(spec, frame)

    return write


def _unchecked_writer(spec: TensorSpec, target: Array) -> Writer:
    """Checks the shape and the dtype alone."""
    write_any = _array_writer(spec, target, lambda: True)
    if target.ndim != 1:
        return write_any
    memory = target.data

    def write(frame: Any) -> None:
        try:
            memory[_ALL] = frame
        except (TypeError, ValueError):
            write_any(frame)

    return write


def _quantizing_writer(spec: TensorSpec, target: Array) -> Writer:
    buffer = np.empty(target.shape, np.float32)
    write_real, store = frame_writer(spec.real, buffer), storer(spec, target, buffer)
    write_stored, dtype = _array_writer(spec, target, lambda: True), target.dtype

    def write(frame: Any) -> None:
        if type(frame) is np.ndarray and frame.dtype == dtype:
            return write_stored(frame)
        write_real(frame)
        store()

    return write


def _array_writer(spec: TensorSpec, target: Array, is_valid: Callable[[], bool]) -> Writer:
    shape, dtype = target.shape, target.dtype

    def write(frame: Any) -> None:
        try:
            fits = frame.shape == shape and frame.dtype == dtype
        except AttributeError:
            fits = False
        if not fits:
            raise explain(spec, frame)
        target[...] = frame
        if not is_valid():
            raise explain(spec, frame)

    return write


def _dict_writer(writers: Mapping[str, Writer]) -> Writer:
    names = writers.keys()

    def write(frames: Any) -> None:
        if not isinstance(frames, Mapping) or frames.keys() != names:
            rule = f"a step of this model takes a dict of {sorted(names)}"
            got = sorted(frames) if isinstance(frames, Mapping) else describe(frames)
            raise FrameError(f"{rule}, got {got}: pass one array per name")
        for name, write_input in writers.items():
            try:
                write_input(frames[name])
            except FrameError as error:
                raise type(error)(f"input `{name}`: {error}") from None

    return write


def _finite_check(target: Array) -> Callable[[], bool]:
    return _small_check(target) if target.size <= _SMALL else _large_check(target)


def _small_check(target: Array) -> Callable[[], bool]:
    """Whether all numbers are finite, in a third of the time of np.isfinite.

    The top byte of a float32 is 0x7f or 0xff for NaN and inf; for other numbers only from 1.7e38.
    """
    content, top = as_bytes(target).tobytes, _TOP_BYTES

    def is_finite() -> bool:
        tops = content()[top]
        return not (127 in tops or 255 in tops) or bool(np.isfinite(target).all())

    return is_finite


def _large_check(target: Array) -> Callable[[], bool]:
    """Whether all numbers are finite, by vector instructions and without an allocation."""
    flags, isfinite = bytearray(target.size), np.isfinite
    finite = np.frombuffer(flags, np.bool_).reshape(target.shape)

    def is_finite() -> bool:
        isfinite(target, finite)
        return 0 not in flags

    return is_finite


def _token_writer(spec: TensorSpec, target: Array, vocabulary: int) -> Writer:
    memory, index, bools = target.reshape(1).data, operator.index, BOOLS

    def write(token: Any) -> None:
        # A bool is an integer in Python, but no token.
        if isinstance(token, bools):
            raise explain(spec, token)
        try:
            number = index(token)
        except TypeError:
            raise explain(spec, token) from None
        if not 0 <= number < vocabulary:
            raise explain(spec, token)
        memory[0] = number

    return write


def _ids_writer(spec: TensorSpec, target: Array) -> Writer:
    """Takes integers of any width, and refuses those outside the vocabulary before the cast."""
    shape, vocabulary = target.shape, spec.vocabulary or 0

    def write(frame: Any) -> None:
        fits = isinstance(frame, np.ndarray) and frame.shape == shape and frame.dtype.kind in "iu"
        if not fits or not ((frame >= 0) & (frame < vocabulary)).all():
            raise explain(spec, frame)
        target[...] = frame

    return write
