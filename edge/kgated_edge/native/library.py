"""A compiled model: opened, checked against its file, and called."""

import ctypes
import hashlib
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from kgated_edge.errors import EdgeError
from kgated_edge.format.tensor_spec import Array, TensorSpec
from kgated_edge.native.seal import check_seal

MARK = b"/* Made by kgated"
SUFFIX = ".native.so"
_ALIGNMENT = 64
_OLD = "{path}: built of older sources: convert the model again, and run `kgated-edge build`"
_CPU_FIELDS = ("flags", "features", "isa")


@dataclass(frozen=True)
class Library:
    """A library that passed its self-test in this process.

    Attributes:
        functions: of the library, which is loaded once per process.
        state_bytes: size of the struct that holds states and working memory.
        state_offsets: where each state begins in it, in the manifest's order.
    """

    functions: Any
    state_bytes: int
    state_offsets: tuple[int, ...]

    @classmethod
    def open(cls, path: Path, digest: str, states: int = 0) -> "Library":
        """Loads a library and runs its golden frames.

        Args:
            path: the library.
            digest: `file_sha256` of the model file.
            states: how many states the manifest has.

        Raises:
            EdgeError: no such library, one of another file or for another CPU, or wrong results.
        """
        functions = _load(path)
        if (built_for := _text(functions, "kgated_digest", 64)) != digest:
            raise EdgeError(
                f"{path}: built for the model file with digest {built_for[:12]}, this is "
                f"{digest[:12]}: run `kgated-edge build` on its C sources"
            )
        if _text(functions, "kgated_host", 16) != host():
            raise EdgeError(f"{path}: built for another CPU: run `kgated-edge build` here")
        size = ctypes.c_uint64.in_dll(functions, "kgated_state_bytes").value
        offsets = (ctypes.c_uint64 * states).in_dll(functions, "kgated_state_offsets")
        if not hasattr(functions, "kgated_call"):
            raise EdgeError(_OLD.format(path=path))
        memory = aligned(size)
        functions.kgated_selftest.argtypes = [ctypes.c_void_p]
        if error := functions.kgated_selftest(memory.ctypes.data):
            raise EdgeError(
                f"{path}: its results for the golden frames are wrong (error {error}): run "
                "`kgated-edge build` again, or report the compiler and the model"
            )
        return cls(functions, size, tuple(offsets))

    def caller(self, arrays: Sequence[Array]) -> Callable[[], int]:
        """A function that runs one step, or one sequence, on these arrays.

        Args:
            arrays: the struct's bytes, then all inputs and outputs in the manifest's order.

        Returns:
            a function that returns 0, or another number, and does nothing, for NaN and inf.
        """
        addresses = (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))
        return partial(self.functions.kgated_call, addresses)

    def sessions_caller(self) -> Callable[[Array, Sequence[Array]], None]:
        """A function that runs a step of many sessions.

        It takes the addresses (sessions, states) of their states, and the arrays (sessions, ...) of
        all inputs and outputs in the manifest's order, each in one piece.

        Raises:
            EdgeError: the library is made of sources without it.
        """
        functions = self.functions
        if not hasattr(functions, "kgated_together"):
            raise EdgeError(_OLD.format(path=functions._name))
        memory = aligned(ctypes.c_uint64.in_dll(functions, "kgated_together_bytes").value)
        pointer = ctypes.c_void_p
        functions.kgated_together.argtypes = [pointer, ctypes.c_size_t, pointer, pointer]
        functions.kgated_together.restype = None

        def step(states: Array, arrays: Sequence[Array]) -> None:
            addresses = (pointer * len(arrays))(*(array.ctypes.data for array in arrays))
            start = memory.ctypes.data
            functions.kgated_together(start, len(states), addresses, states.ctypes.data)

        return step

    def state_views(self, memory: Array, specs: Sequence[TensorSpec]) -> dict[str, Array]:
        """A view of each state in the struct's bytes."""
        views = {}
        for spec, start in zip(specs, self.state_offsets, strict=True):
            dtype = np.dtype(spec.dtype)
            content = memory[start : start + spec.size * dtype.itemsize]
            views[spec.name] = content.view(dtype).reshape(spec.shape)
        return views


def library_path(model: Path, digest: str) -> Path:
    """The path of the library of a model file.

    The digest is in the name, since a process that has loaded a library gets the same one for the
    same path, whatever the file is by then.
    """
    return model.with_suffix(f".{digest[:12]}{SUFFIX}")


def aligned(size: int) -> Array:
    """Zeroed bytes that start at a vector's boundary."""
    content = np.zeros(size + _ALIGNMENT, np.uint8)
    start = -content.ctypes.data % _ALIGNMENT
    return content[start : start + size]


@cache
def host() -> str:
    """The target of a library: a digest of this CPU's architecture and instructions."""
    lines = [platform.machine(), platform.system()]
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        content = cpuinfo.read_text(errors="replace").lower().splitlines()
        lines += sorted({line for line in content if line.split("\t")[0].strip() in _CPU_FIELDS})
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _load(path: Path) -> Any:
    if not path.is_file():
        raise EdgeError(
            f"{path}: no native library: make it by `kgated-edge build` from the C sources of "
            '`kgated convert --target c`, or take engine="litert"'
        )
    check_seal(path)
    try:
        return ctypes.CDLL(str(path.resolve()))
    except OSError as error:
        reason = str(error).removeprefix(f"{path.resolve()}: ")
        raise EdgeError(f"{path}: cannot be loaded ({reason}): build it again here") from None


def _text(functions: Any, name: str, size: int) -> str:
    try:
        return bytes((ctypes.c_char * size).in_dll(functions, name)).decode("ascii", "replace")
    except ValueError:
        raise EdgeError(
            f"{functions._name}: this library is none of `kgated-edge build`: build it again here"
        ) from None
