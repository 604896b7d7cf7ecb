"""Which layer each operator of a `.tflite` file comes from, as a table beside the file.

The converter keeps the names of TensorFlow's scopes in the names of tensors, except that an output
of the signature is renamed, and a constant may lose its name. The names are read once, right after
the conversion; passes that add operators add them to the table.
"""

import re
from collections.abc import Collection, Iterable, Mapping

from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite.flatbuffer import operators, tensor_name


def scope_name(layer: str) -> str:
    """A layer's name, spelled as TensorFlow takes it for a scope."""
    name = re.sub(r"[^\w.-]", "_", layer, flags=re.ASCII)
    return name if name[:1].isalnum() or name[:1] == "." else f"layer{name}"


class LayerTable:
    """The layer, or other scope, of each operator.

    An operator is known by the name of the first tensor that it writes: those names are unique, and
    stay the same in every pass and in the quantizer.

    Args:
        layers: by tensor name, the layer as `scope_name` spells it.
    """

    def __init__(self, layers: Mapping[str, str]) -> None:
        self._layers = dict(layers)

    @classmethod
    def from_names(cls, model: schema.ModelT) -> "LayerTable":
        """Read the names that the converter gave to tensors."""
        table = cls({})
        for graph in model.subgraphs:
            for operator, layer in zip(graph.operators, _layers_by_name(graph), strict=True):
                if layer is not None and (key := _key(graph, operator)):
                    table._layers.setdefault(key, layer)
        return table

    def layer(self, graph: schema.SubGraphT, operator: schema.OperatorT) -> str | None:
        """The layer that an operator comes from; None where nothing says so."""
        return self._layers.get(_key(graph, operator))

    def inherit(self, graph: schema.SubGraphT, target: int, source: int) -> None:
        """Let the operator that writes `target` belong to the layer of the one of `source`."""
        layer = self._layers.get(tensor_name(graph.tensors[source]))
        if layer is not None:
            self._layers[tensor_name(graph.tensors[target])] = layer

    def layers(self, model: schema.ModelT) -> set[str]:
        """The layers that have an operator in a file."""
        layers = (self.layer(graph, operator) for graph, operator in operators(model))
        return {layer for layer in layers if layer is not None}

    def as_dict(self) -> dict[str, str]:
        """The table as plain data, for another process."""
        return dict(self._layers)


def scopes(layers: Iterable[str]) -> Collection[str]:
    """The names of layers as a table has them."""
    return {scope_name(layer) for layer in layers}


def _key(graph: schema.SubGraphT, operator: schema.OperatorT) -> str:
    tensors = [n for n in (*operator.outputs, *operator.inputs) if n >= 0]
    return tensor_name(graph.tensors[tensors[0]]) if tensors else ""


def _layers_by_name(graph: schema.SubGraphT) -> list[str | None]:
    """The layer of each operator, in order.

    An operator without a name of its own, whose constants have none either, belongs with the
    operator that feeds it, or else with the first that it feeds.
    """
    producers: dict[int, str | None] = {}
    layers = []
    for operator in graph.operators:
        inputs = [n for n in operator.inputs if n >= 0]
        names = [tensor_name(graph.tensors[n]) for n in operator.outputs]
        names += [tensor_name(graph.tensors[n]) for n in inputs if n not in producers]
        by_name = (layer for name in names if (layer := _layer_in(name)))
        by_producer = (layer for n in inputs if (layer := producers.get(n)))
        layers.append(next(by_name, None) or next(by_producer, None))
        producers.update(dict.fromkeys(operator.outputs, layers[-1]))
    return _with_consumers(graph, layers)


def _with_consumers(graph: schema.SubGraphT, layers: list[str | None]) -> list[str | None]:
    """The layers, and where there is none that of the first operator that reads the result."""
    completed, readers = list(layers), dict[int, tuple[int, str | None]]()
    for n in reversed(range(len(layers))):
        operator = graph.operators[n]
        if layers[n] is None:
            first = min((readers[t] for t in operator.outputs if t in readers), default=(n, None))
            completed[n] = first[1]
        readers.update(dict.fromkeys(operator.inputs, (n, layers[n])))
    return completed


def _layer_in(name: str) -> str | None:
    """The scope that a tensor's name starts with; fused operators have names with `;` between."""
    return next((part.split("/")[0] for part in name.split(";") if "/" in part), None)
