"""Plans where the results of the steps are in the caller's struct."""

from collections.abc import Iterable, Mapping

from kgated.deploy.c.graph import Tensor
from kgated.deploy.c.schedule import Step
from kgated.deploy.c.views import Views
from kgated.deploy.tflm.arena import Block, place

MEMBERS = {"float32": "f32", "int8": "s8", "int16": "s16", "int32": "s32", "bool": "u8"}
"""The member of the struct that holds the results of a dtype."""
ALIGNMENT = 16  # numbers


class Memory:
    """The place of each result that a later step reads, or that leaves the model.

    Args:
        steps: in order.
        views: where the numbers of each tensor lie.
        outputs: what leaves the model.
    """

    def __init__(self, steps: list[Step], views: Views, outputs: Iterable[Tensor]) -> None:
        self._starts: dict[Tensor, int] = {}
        self.sizes: dict[str, int] = {}
        lifetimes = _lifetimes(steps, views, outputs)
        for dtype, member in MEMBERS.items():
            tensors = [tensor for tensor in lifetimes if tensor.dtype == dtype]
            blocks = [Block(_padded(tensor.size), *lifetimes[tensor]) for tensor in tensors]
            starts = place(blocks)
            self._starts |= dict(zip(tensors, starts, strict=True))
            ends = (start + block.size for start, block in zip(starts, blocks, strict=True))
            if size := max(ends, default=0):
                self.sizes[member] = size

    def start(self, tensor: Tensor) -> int | None:
        """The place of a result's first number in its member; None where it needs none."""
        return self._starts.get(tensor)


def _lifetimes(
    steps: list[Step], views: Views, outputs: Iterable[Tensor]
) -> Mapping[Tensor, tuple[int, int]]:
    """The first and the last step of each result that has to be in memory."""
    first = {tensor: n for n, step in enumerate(steps) for tensor in step.written}
    last: dict[Tensor, int] = {}
    for n, step in enumerate(steps):
        for operator in step.operators:
            for tensor in filter(None, operator.inputs):
                base, _ = views.of(tensor)
                if base in first and (first[base] != n or not step.is_loop):
                    last[base] = n
        for tensor in step.written if not step.is_loop else ():
            last.setdefault(tensor, n)
    for tensor in outputs:
        base, _ = views.of(tensor)
        if base in first:
            last[base] = len(steps)
    return {tensor: (first[tensor], n) for tensor, n in last.items()}


def _padded(size: int) -> int:
    """Whole vectors, so that each result starts at a vector's boundary."""
    return -(-size // ALIGNMENT) * ALIGNMENT
