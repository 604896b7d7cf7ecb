"""Subgraphs that run other subgraphs: refuses recursion and loops that cannot end."""

from kgated_edge.verifier.flatbuffer_reader import Graphs, Operator, invalid_graph
from kgated_edge.verifier.opcodes import Op

_CALLED_SUBGRAPHS: dict[int, int] = {
    Op.IF: 2,
    Op.WHILE: 2,
    Op.CALL_ONCE: 1,
}  # the first options of each


def check_calls(graphs: Graphs) -> None:
    """Checks that no subgraph calls itself, directly or through others: it would never end.

    Raises:
        ManifestError: one does.
    """
    calls = {
        index: {
            graphs.option(operator, slot)
            for operator in subgraph.operators
            for slot in range(_CALLED_SUBGRAPHS.get(operator.code, 0))
        }
        for index, subgraph in enumerate(graphs.subgraphs)
    }
    while calls:
        leaves = [index for index, called in calls.items() if not called & calls.keys()]
        if not leaves:
            raise invalid_graph("its subgraphs call each other recursively")
        for index in leaves:
            del calls[index]


def check_loops(graphs: Graphs) -> None:
    """Checks that an iteration changes something that the loop's condition reads.

    Raises:
        ManifestError: nothing changes, so the loop cannot end. That other loops end is not proved.
    """
    for subgraph in graphs.subgraphs:
        for operator in subgraph.operators:
            if operator.code == Op.WHILE:
                _check_loop(graphs, operator)


def _check_loop(graphs: Graphs, operator: Operator) -> None:
    called = [graphs.option(operator, slot) for slot in (0, 1)]
    if max(called) >= len(graphs.subgraphs):
        raise invalid_graph("a WHILE operator refers to a subgraph that does not exist")
    condition, body = (graphs.subgraphs[index] for index in called)
    read = set(condition.outputs).union(*(operator.inputs for operator in condition.operators))
    changes = [
        after != before and not body.tensors[after].has_data
        for tested, before, after in zip(condition.inputs, body.inputs, body.outputs, strict=False)
        if tested in read
    ]
    if not any(changes):
        raise invalid_graph("the condition of a WHILE loop never changes")
