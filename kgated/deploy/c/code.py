"""The text of the C step: constants, expressions for tensors, and the kernels in use."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from kgated.deploy.c.elementwise import literal
from kgated.deploy.c.graph import Tensor
from kgated.deploy.c.memory import MEMBERS, Memory
from kgated.deploy.c.views import Views

C_TYPES = {
    **{"float32": "float", "int8": "int8_t", "int16": "int16_t", "int32": "int32_t"},
    **{"bool": "uint8_t", "uint8": "uint8_t"},
}
_PER_LINE = 12


@dataclass(frozen=True)
class Constant:
    """An array of the source file."""

    name: str
    ctype: str
    values: np.ndarray

    @property
    def bytes(self) -> int:
        """Its size in flash."""
        return int(self.values.nbytes)

    @property
    def text(self) -> str:
        """Its numbers, in lines."""
        return wrapped(numbers(self.values))


@dataclass
class Code:
    """Collects the generated lines and constants.

    Attributes:
        views: where the numbers of each tensor lie.
        memory: where results lie in the struct.
        names: the C expression of the array of each input, output and state tensor.
        kernels: names of the template's kernels in use.
        scratch: by member of the struct the numbers needed while a step runs.
    """

    views: Views
    memory: Memory
    names: dict[Tensor, str]
    kernels: set[str] = field(default_factory=set)
    scratch: dict[str, int] = field(default_factory=dict)
    _constants: dict[tuple[str, bytes], Constant] = field(default_factory=dict)

    @property
    def constants(self) -> list[Constant]:
        """The arrays, in the order of their first use."""
        return list(self._constants.values())

    def use(self, kernel: str) -> str:
        """Note that a kernel is called; returns its name."""
        self.kernels.add(kernel)
        return kernel

    def element(self, tensor: Tensor, index: str) -> str:
        """The C expression of a number of a tensor."""
        if tensor.data is not None and tensor.size == 1 and tensor.dtype == "float32":
            return literal(float(tensor.data.ravel()[0]))
        array, start = self.array(tensor)
        if index.isdigit():
            return f"{array}[{start + int(index)}]"
        return f"{array}[{f'{start} + ' if start else ''}{index}]"

    def pointer(self, tensor: Tensor) -> str:
        """The C expression of the address of a tensor's first number."""
        array, start = self.array(tensor)
        return f"({array} + {start})" if start else array

    def array(self, tensor: Tensor) -> tuple[str, int]:
        """The C array that holds a tensor, and the place of its first number there."""
        if tensor.data is not None:
            return self.constant(tensor.data, "c"), 0
        base, start = self.views.of(tensor)
        if base in self.names:
            return self.names[base], start
        place = self.memory.start(base)
        if place is None:
            raise AssertionError(f"tensor {base.index} has no place")
        return f"s->{MEMBERS[base.dtype]}", place + start

    def constant(self, values: np.ndarray, kind: str) -> str:
        """The name of the array with these numbers; equal ones are stored once."""
        values = values.astype(np.uint8) if values.dtype == bool else values
        key = values.dtype.str, values.tobytes()
        if key not in self._constants:
            name = f"kg_{kind}{len(self._constants)}"
            ctype = C_TYPES[values.dtype.name]
            self._constants[key] = Constant(name, ctype, values)
        return self._constants[key].name

    def temporary(self, dtype: str, size: int, part: str = "") -> str:
        """The address of memory for one step; `part` tells several apart."""
        member = f"t{part}_{MEMBERS[dtype]}"
        self.scratch[member] = max(self.scratch.get(member, 0), size)
        return f"s->{member}"


def numbers(values: np.ndarray) -> list[str]:
    """The numbers of an array, in C."""
    if values.dtype.kind == "f":
        return [literal(x) for x in values.ravel()]
    if values.dtype == np.int32:
        return ["(-2147483647 - 1)" if x == -(2**31) else str(x) for x in values.ravel().tolist()]
    return [str(x) for x in values.ravel().tolist()]


def wrapped(texts: Iterable[str]) -> str:
    """Numbers in lines of a source file."""
    items = list(texts)
    rows = (items[n : n + _PER_LINE] for n in range(0, len(items), _PER_LINE))
    return ",\n".join("    " + ", ".join(row) for row in rows)
