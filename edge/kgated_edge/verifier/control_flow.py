"""Subgraphs that run others: refuses what would never end."""

from kgated_edge.verifier.flatbuffer_reader import Graphs, broken

_WHILE = 119
_CALLS = {118: 2, _WHILE: 2, 129: 1}  # how many subgraphs IF, WHILE and CALL_ONCE name


def check_calls(graphs: Graphs) -> None:
    """A subgraph that came back to itself would never end.

    Raises:
        ManifestError: one does.
    """
    calls = {
        place: {
            graphs.number(operator, slot)
            for operator in subgraph.operators
            for slot in range(_CALLS.get(operator.code, 0))
        }
        for place, subgraph in enumerate(graphs.subgraphs)
    }
    while calls:
        ends = [place for place, called in calls.items() if not called & calls.keys()]
        if not ends:
            raise broken("its subgraphs call each other in a circle")
        for place in ends:
            del calls[place]


def check_loops(graphs: Graphs) -> None:
    """Something that a loop's condition reads must change in its turns, or it has no end.

    Raises:
        ManifestError: nothing does. That a loop ends is not shown.
    """
    for operator in (one for subgraph in graphs.subgraphs for one in subgraph.operators):
        if operator.code != _WHILE:
            continue
        called = [graphs.number(operator, slot) for slot in (0, 1)]
        if max(called) >= len(graphs.subgraphs):
            raise broken("a loop is of a subgraph that the file does not have")
        condition, body = (graphs.subgraphs[one] for one in called)
        read = set(condition.outputs).union(*(one.inputs for one in condition.operators))
        moving = [
            given != taken and not body.tensors[given].has_data
            for tested, taken, given in zip(
                condition.inputs, body.inputs, body.outputs, strict=False
            )
            if tested in read
        ]
        if not any(moving):
            raise broken("a loop has no end")
