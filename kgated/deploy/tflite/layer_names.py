"""Which layer an operator of a `.tflite` file comes from.

The converter keeps the names of TensorFlow's scopes in the names of tensors, except that an output
of the signature is renamed, and a constant may lose its name.
"""

import re

from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite.flatbuffer import tensor_name


def scope(name: str) -> str:
    """A layer's name, spelled as TensorFlow takes it for a scope."""
    return re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)


def owners(subgraph: schema.SubGraphT) -> list[str | None]:
    """The layer, or other scope, of each operator, in order; None where nothing tells.

    An operator whose own name and whose constants say nothing belongs with what feeds it, or else
    with the first that it feeds.
    """
    produced: dict[int, str | None] = {}
    found = []
    for operator in subgraph.operators:
        inputs = [n for n in operator.inputs if n >= 0]
        names = [tensor_name(subgraph.tensors[n]) for n in operator.outputs]
        names += [tensor_name(subgraph.tensors[n]) for n in inputs if n not in produced]
        named = (layer for name in names if (layer := _layer(name)))
        fed = (layer for n in inputs if (layer := produced.get(n)))
        found.append(next(named, None) or next(fed, None))
        produced.update(dict.fromkeys(operator.outputs, found[-1]))
    told, feeds = tuple(found), dict[int, tuple[int, str | None]]()
    for n in reversed(range(len(told))):
        operator = subgraph.operators[n]
        if told[n] is None:
            found[n] = min((feeds[t] for t in operator.outputs if t in feeds), default=(n, None))[1]
        feeds.update(dict.fromkeys(operator.inputs, (n, told[n])))
    return found


def _layer(name: str) -> str | None:
    """The scope that a tensor's name starts with; fused operators have names with `;` between."""
    return next((part.split("/")[0] for part in name.split(";") if "/" in part), None)
