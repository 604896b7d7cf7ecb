"""The steps of the C code: elementwise operators in one loop, every other operator by itself."""

from collections.abc import Callable
from dataclasses import dataclass, field

from kgated.deploy.c.graph import Operator, Tensor
from kgated.deploy.c.views import Views


@dataclass
class Step:
    """Operators that run in one loop, or a single operator.

    Attributes:
        operators: of one loop, in order, or a single one.
        is_loop: whether they are elementwise, and all results have one size.
    """

    operators: list[Operator]
    is_loop: bool = False
    written: set[Tensor] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.written |= {x for operator in self.operators for x in operator.outputs}

    @property
    def size(self) -> int:
        """How many numbers each result has."""
        return self.operators[0].output.size

    def add(self, operator: Operator) -> None:
        """One more operator in the loop."""
        self.operators.append(operator)
        self.written |= set(operator.outputs)


def steps_of(
    operators: list[Operator], views: Views, is_elementwise: Callable[[Operator], bool]
) -> list[Step]:
    """The steps, in order.

    A loop stays open while other operators do not need its results: these then run before it.
    """
    steps: list[Step] = []
    current: Step | None = None
    for operator in operators:
        if operator in views.skipped:
            continue
        if is_elementwise(operator):
            if current is not None and _fits(operator, current, views):
                current.add(operator)
                continue
            if current is not None:
                steps.append(current)
            current = Step([operator], True)
            continue
        if current is not None and _reads(operator, current, views):
            steps.append(current)
            current = None
        steps.append(Step([operator]))
    return steps if current is None else [*steps, current]


def is_identity(tensor: Tensor, size: int, views: Views) -> bool:
    """Whether a loop over `size` numbers reads a tensor number by number, from its first."""
    base, start = views.of(tensor)
    return tensor.size == base.size == size and start == 0


def _fits(operator: Operator, loop: Step, views: Views) -> bool:
    if operator.output.size != loop.size:
        return False
    return all(
        views.of(x)[0] not in loop.written or is_identity(x, loop.size, views)
        for x in operator.inputs
        if x is not None
    )


def _reads(operator: Operator, loop: Step, views: Views) -> bool:
    return any(views.of(x)[0] in loop.written for x in operator.inputs if x is not None)
