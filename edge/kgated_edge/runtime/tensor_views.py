"""NumPy views of an interpreter's tensors, bound once by address.

The array that `Interpreter.tensor(i)()` returns holds a reference that makes `invoke()` refuse to
run, and `set_tensor` with `get_tensor` costs more than a small model's step. The tensors of a
static graph do not move after `allocate_tensors()`, so their addresses are read once. A view does
not keep the interpreter alive: the owner of a view must also hold the interpreter.
"""

import ctypes
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from kgated_edge.errors import ManifestError
from kgated_edge.format.tensor_spec import Array, TensorSpec

Details = Mapping[str, Mapping[str, Any]]
"""Tensor details by signature name, as the interpreter reports them."""
TensorForm = tuple[tuple[int, ...], np.dtype[Any], tuple[float | None, int | None] | None]
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
        batch: size of each tensor's batch axis.

    Raises:
        ManifestError: a tensor is missing or unexpected, or its shape, dtype or scale differs.
    """
    expected = {spec.name: _expected(spec, batch) for spec in specs}
    actual = {name: _actual(tensor) for name, tensor in details.items()}
    for name in expected.keys() | actual.keys():
        if expected.get(name) != actual.get(name):
            raise ManifestError(
                f"tensor `{name}` is {_text(actual.get(name))}, "
                f"its manifest says {_text(expected.get(name))}: convert it again"
            )


def addresses(interpreter: Tensors, details: Details) -> dict[str, int]:
    """The address of each tensor, by its name in the signature."""
    return {name: _address(interpreter, tensor["index"]) for name, tensor in details.items()}


def view(address: int, spec: TensorSpec) -> Array:
    """A writable view of a tensor's memory, without a batch axis of 1."""
    dtype = np.dtype(spec.dtype)
    memory = (ctypes.c_ubyte * (spec.size * dtype.itemsize)).from_address(address)
    return np.frombuffer(memoryview(memory), dtype).reshape(spec.shape)


def as_bytes(array: Array) -> memoryview:
    """The bytes of a contiguous array, as a writable view of one axis."""
    return array.reshape(-1).view(np.uint8).data


ByteCopies = list[tuple[memoryview, memoryview]]
"""(target, source) pairs, to be copied in order."""


def state_copies(pairs: list[tuple[Array, Array]]) -> ByteCopies:
    """The byte copies that move all sources to all targets.

    A source that overlaps a target is first copied to a buffer of its own.

    Args:
        pairs: (target, source), of equal shape and dtype.
    """
    targets = [target for target, _ in pairs]
    staged: ByteCopies = []
    copies: ByteCopies = []
    for destination, source in pairs:
        if any(np.may_share_memory(source, target) for target in targets):
            buffer = np.empty_like(source)
            staged.append((as_bytes(buffer), as_bytes(source)))
            source = buffer
        copies.append((as_bytes(destination), as_bytes(source)))
    return staged + copies


def address(array: Array) -> int:
    """The address of an array's memory."""
    # NumPy's `__array_interface__` is a segmentation fault where its allocation fails.
    return int(array.ctypes.data)


def _address(interpreter: Tensors, index: int) -> int:
    # The view must not outlive this call: it makes `invoke()` refuse to run.
    return address(interpreter.tensor(index)())


def _expected(spec: TensorSpec, batch: int) -> TensorForm:
    quantized = (spec.scale, spec.zero_point) if spec.is_quantized else None
    shape = spec.shape if batch > 1 else (1, *spec.shape)
    return shape, np.dtype(spec.dtype), quantized


def _actual(details: Mapping[str, Any]) -> TensorForm:
    scale, zero_point = details.get("quantization", (0.0, 0))
    # The interpreter reports a scale of 0 for none.
    quantized = (float(scale), int(zero_point)) if scale else None
    return tuple(map(int, details["shape"])), np.dtype(details["dtype"]), quantized


def _text(form: TensorForm | None) -> str:
    if form is None:
        return "absent"
    shape, dtype, quantized = form
    return f"{list(shape)} {dtype}" + (f" of scale, zero point {quantized}" if quantized else "")
