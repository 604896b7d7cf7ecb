"""NumPy views of an interpreter's tensors, bound once by address.

The array that `Interpreter.tensor(i)()` returns holds a reference that makes `invoke()` refuse to
run, and `set_tensor` with `get_tensor` costs more than a small model's step. The tensors of a
static graph stay where they are after `allocate_tensors()`, so their addresses are taken once. A
view does not keep the interpreter alive: whoever holds the one holds the other.
"""

import ctypes
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from struct import Struct
from typing import Any, Protocol

import numpy as np

from kgated_edge.errors import ManifestError
from kgated_edge.format.tensor_spec import Array, TensorSpec

Details = Mapping[str, Mapping[str, Any]]
"""Tensor details by signature name, as the interpreter reports them."""
Kind = tuple[tuple[int, ...], np.dtype[Any], tuple[float | None, int | None] | None]
"""Shape, dtype, and scale and zero point where it is quantized."""


class Tensors(Protocol):
    """The part of the interpreter that is used here."""

    def tensor(self, index: int) -> Any:
        """A function that returns a view of a tensor."""


def check_tensors(details: Details, specs: Iterable[TensorSpec], batch: int = 1) -> None:
    """Compares the tensors of a signature with the manifest's.

    Args:
        details: as the interpreter reports them.
        specs: with the batch axis first where `batch` is above 1.
        batch: rows of each tensor.

    Raises:
        ManifestError: a tensor is missing, there is one more, or shape, dtype or scale differ.
    """
    expected = {spec.name: _expected(spec, batch) for spec in specs}
    found = {name: _found(one) for name, one in details.items()}
    for name in expected.keys() | found.keys():
        if expected.get(name) != found.get(name):
            raise ManifestError(
                f"tensor `{name}` is {_text(found.get(name))}, "
                f"its manifest says {_text(expected.get(name))}: convert it again"
            )


def addresses(interpreter: Tensors, details: Details) -> dict[str, int]:
    """Where each tensor's memory starts, by signature name."""
    return {name: _address(interpreter, one["index"]) for name, one in details.items()}


def view(address: int, spec: TensorSpec) -> Array:
    """A writable view of a tensor's memory, without a batch axis of 1."""
    dtype = np.dtype(spec.dtype)
    memory = (ctypes.c_ubyte * (spec.size * dtype.itemsize)).from_address(address)
    return np.frombuffer(memoryview(memory), dtype).reshape(spec.shape)


def raw(array: Array) -> memoryview:
    """The bytes of a contiguous array as a writable view of one axis."""
    return array.reshape(-1).view(np.uint8).data


def copies(pairs: list[tuple[Array, Array]]) -> list[tuple[memoryview, memoryview]]:
    """The (target, source) byte copies that move all sources to all targets, in order.

    A source that is some target's memory goes through a buffer of its own, before all others.
    """
    targets = [target for target, _ in pairs]
    staged, moves = [], []
    for target, source in pairs:
        if any(np.may_share_memory(source, other) for other in targets):
            buffer = np.empty_like(source)
            staged.append((raw(buffer), raw(source)))
            source = buffer
        moves.append((raw(target), raw(source)))
    return staged + moves


def taker(views: list[Array]) -> tuple[Callable[[], tuple[bytes, ...]], list[int]]:
    """A function that returns the bytes of all arrays at once, and the place of each among them.

    One `struct` reads many arrays at a third of the price of many calls, but none twice: what
    overlaps is read by another.
    """
    waves: list[list[int]] = []
    for k in sorted(range(len(views)), key=lambda k: address(views[k])):
        free = (wave for wave in waves if _end(views[wave[-1]]) <= address(views[k]))
        wave = next(free, None)
        if wave is None:
            waves.append([k])
        else:
            wave.append(k)
    reads = [_read_apart([views[k] for k in wave]) for wave in waves]
    order = [k for wave in waves for k in wave]
    places = [order.index(k) for k in range(len(views))]
    if len(reads) == 1:
        return reads[0], places
    return lambda: tuple([one for read in reads for one in read()]), places


def _read_apart(views: list[Array]) -> Callable[[], tuple[bytes, ...]]:
    """Reads arrays that lie one after the other, with gaps, which are not looked at."""
    start = end = address(views[0])
    form = ""
    for one in views:
        form += f"{address(one) - end}x{one.nbytes}s"
        end = _end(one)
    memory = memoryview((ctypes.c_ubyte * (end - start)).from_address(start))
    return partial(Struct(form).unpack_from, memory)


def address(array: Array) -> int:
    """Where an array's memory starts."""
    return int(array.__array_interface__["data"][0])


def _end(array: Array) -> int:
    return address(array) + array.nbytes


def _address(interpreter: Tensors, index: int) -> int:
    # The view dies with this call: see the head of the module.
    return address(interpreter.tensor(index)())


def _expected(spec: TensorSpec, batch: int) -> Kind:
    quantized = (spec.scale, spec.zero_point) if spec.is_quantized else None
    shape = spec.shape if batch > 1 else (1, *spec.shape)
    return shape, np.dtype(spec.dtype), quantized


def _found(details: Mapping[str, Any]) -> Kind:
    scale, zero_point = details.get("quantization", (0.0, 0))
    # A scale of 0 is the interpreter's word for none.
    quantized = (float(scale), int(zero_point)) if scale else None
    return tuple(map(int, details["shape"])), np.dtype(details["dtype"]), quantized


def _text(found: Kind | None) -> str:
    if found is None:
        return "absent"
    shape, dtype, quantized = found
    return f"{list(shape)} {dtype}" + (f" of scale, zero point {quantized}" if quantized else "")
