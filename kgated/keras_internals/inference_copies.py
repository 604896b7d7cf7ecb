"""Copies of layers for inference: in float32, without state from batch to batch, names unique."""

from typing import Any

import keras

from kgated.errors import naming_layer


def has_graph(model: keras.Model) -> bool:
    """Whether a model is functional or Sequential, and built."""
    return bool(getattr(model, "inputs", None))


def for_inference(layer: keras.Layer) -> keras.Layer:
    """The layer itself, or a float32, stateless copy of one that is neither."""
    # Operations on masks stand in the graph too; they are no layers and have no precision.
    # Layers that look up or count compute in integers or text, which has no precision either.
    dtype = str(getattr(layer, "compute_dtype", "float32"))
    if (dtype == "float32" or "float" not in dtype) and not getattr(layer, "stateful", False):
        return layer
    return _copy(layer, dtype="float32", stateful=False)


class UniqueNames:
    """Returns layers for inference, under another name where the name is taken.

    A graph refuses two layers of one name; models inside a model may have them.
    """

    def __init__(self) -> None:
        self._copies: dict[int, tuple[Any, Any]] = {}
        self._names: set[str] = set()

    def __call__(self, layer: Any) -> Any:
        """The layer, or its copy; the same one each time."""
        if isinstance(layer, keras.Model) and has_graph(layer):
            return layer
        if id(layer) not in self._copies:
            with naming_layer(layer):
                copy = for_inference(layer)
                if layer.name in self._names and isinstance(layer, keras.Layer):
                    copy = _copy(copy, name=f"{layer.name}_{len(self._names)}")
            self._names.add(copy.name)
            self._copies[id(layer)] = layer, copy
        return self._copies[id(layer)][1]


def _copy(layer: keras.Layer, **changes: Any) -> keras.Layer:
    """The layer with other options, of those that it has, and the same weights."""
    config = layer.get_config()
    known = {name: value for name, value in changes.items() if name in config}
    if "dtype" in known:
        config = {key: _in_dtype(value, known["dtype"]) for key, value in config.items()}
    copy = type(layer).from_config({**config, **known})
    if layer.built:
        copy.build_from_config(layer.get_build_config())
        copy.set_weights(layer.get_weights())
    return copy


def _in_dtype(config: Any, dtype: str) -> Any:
    """The configuration of a layer inside of another one, with another precision."""
    if isinstance(config, list):
        return [_in_dtype(part, dtype) for part in config]
    if not isinstance(config, dict) or config.get("class_name") == "DTypePolicy":
        return config
    inner = {key: _in_dtype(value, dtype) for key, value in config.items()}
    return {**inner, "dtype": dtype} if "dtype" in inner and "name" in inner else inner
