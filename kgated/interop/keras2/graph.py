"""The graph of a Keras 2 model, in Keras 3's form."""

from collections.abc import Mapping
from typing import Any

Config = dict[str, Any]

RECURRENT = {"LSTM", "GRU", "SimpleRNN", "RNN", "ConvLSTM1D", "ConvLSTM2D", "Bidirectional"}


def plain(name: str | None) -> Any:
    """A layer's name without slashes, which Keras 3 doesn't allow."""
    return None if name is None else name.replace("/", "_")


def read_tokens(layers: list[Config], consumers: Mapping[Any, list[Config]]) -> None:
    """Make an input int32 if only Embedding layers read it."""
    for layer in layers:
        readers = consumers.get(layer["config"].get("name"), [])
        kinds = {reader["class_name"] for reader in readers}
        if layer["class_name"] == "InputLayer" and kinds == {"Embedding"}:
            layer["config"]["dtype"] = "int32"


def consumers_of(layers: list[Config]) -> dict[str, list[Config]]:
    """The layers that read the outputs of each layer, by name."""
    readers: dict[str, list[Config]] = {}
    for layer in layers:
        for node in layer["inbound_nodes"]:
            for tensor in _tensors(node):
                readers.setdefault(tensor["config"]["keras_history"][0], []).append(layer)
    return readers


def _tensors(node: Any) -> list[Config]:
    if isinstance(node, dict) and node.get("class_name") == "__keras_tensor__":
        return [node]
    children = node.values() if isinstance(node, dict) else node
    return [t for child in children if isinstance(child, dict | list) for t in _tensors(child)]


class Places:
    """The connections of a functional model in Keras 3's form.

    Args:
        layers: of the model, as the file has them.
        keras2: whether Keras 2 counted the calls; it counts those of a Sequential model from 1.
    """

    def __init__(self, layers: list[Config], keras2: bool) -> None:
        self._first = {
            layer["name"]: int(keras2 and layer["class_name"] == "Sequential") for layer in layers
        }

    def node(self, node: Any, kind: str) -> Any:
        """One call of a layer: positional tensors and keyword options."""
        if isinstance(node, dict):
            return self.revived(node)
        kwargs: Config = {}
        for place in node:
            kwargs |= place[3] if len(place) > 3 else {}
        kwargs = {k: self._tensors(v) for k, v in kwargs.items() if v is not None}
        tensors = [self._tensors(place) for place in node]
        if kind in RECURRENT and len(tensors) > 1:  # Keras 2 has the states beside the sequence
            kwargs["initial_state"] = tensors[1:]
            tensors = tensors[:1]
        return {"args": tensors if len(tensors) == 1 else [tensors], "kwargs": kwargs}

    def revived(self, value: Any) -> Any:
        """The same with plain names of layers, and calls counted from 0."""
        if isinstance(value, dict):
            return {key: self.revived(item) for key, item in value.items()}
        if self._is_place(value):
            return [plain(value[0]), value[1] - self._first[value[0]], value[2]]
        return [self.revived(item) for item in value] if isinstance(value, list) else value

    def _tensors(self, value: Any) -> Any:
        """A value in which Keras 3's description of a tensor replaces each connection."""
        if self._is_place(value):
            config = {"shape": [None], "dtype": "float32", "keras_history": self.revived(value)}
            return {"class_name": "__keras_tensor__", "config": config}
        return [self._tensors(item) for item in value] if isinstance(value, list) else value

    def _is_place(self, value: Any) -> bool:
        return (
            isinstance(value, list)
            and len(value) in (3, 4)
            and isinstance(value[0], str)
            and value[0] in self._first
            and isinstance(value[1], int)
        )
