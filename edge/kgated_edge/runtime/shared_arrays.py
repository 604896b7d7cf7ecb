"""Arrays that several processes share."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kgated_edge.errors import EdgeError
from kgated_edge.format.tensor_spec import Array, TensorSpec

if TYPE_CHECKING:  # imported where it is used: a device without a pool does not need it
    from multiprocessing.shared_memory import SharedMemory


class SharedArrays:
    """Arrays (sessions, *shape) by name in one piece of shared memory."""

    def __init__(self, memory: "SharedMemory", specs: Sequence[TensorSpec], count: int) -> None:
        self._memory, self._place = memory, 0
        self.arrays = {spec.name: self._array(spec, count) for spec in specs}

    @classmethod
    def new(cls, specs: Sequence[TensorSpec], count: int) -> "SharedArrays":
        """Arrays in new memory."""
        size = sum(spec.size * np.dtype(spec.dtype).itemsize for spec in specs)
        from multiprocessing.shared_memory import SharedMemory

        return cls(SharedMemory(create=True, size=max(1, size * count)), specs, count)

    @classmethod
    def of(cls, name: str, specs: Sequence[TensorSpec], count: int) -> "SharedArrays":
        """Those of another process."""
        from multiprocessing.shared_memory import SharedMemory

        return cls(SharedMemory(name), specs, count)

    @property
    def name(self) -> str:
        """The name of the memory, for another process."""
        return self._memory.name

    def write(self, values: Mapping[str, Any]) -> None:
        """Copies arrays of the same shapes and dtypes; `EdgeError` for others."""
        for name, array in self.arrays.items():
            value = values[name]
            if not isinstance(value, np.ndarray) or value.shape != array.shape:
                got = getattr(value, "shape", type(value).__name__)
                raise EdgeError(f"`frames` must be an array of shape {array.shape}, got {got}")
            if value.dtype != array.dtype:
                raise EdgeError(f"`frames` must be {array.dtype}, got {value.dtype}: cast them")
            array[...] = value

    def close(self) -> None:
        """Frees the memory."""
        self.arrays.clear()
        self._memory.close()
        try:
            self._memory.unlink()
        except FileNotFoundError:
            return

    def _array(self, spec: TensorSpec, count: int) -> Array:
        array: Array = np.ndarray(
            (count, *spec.shape), spec.dtype, self._memory.buf, offset=self._place
        )
        self._place += array.nbytes
        return array
