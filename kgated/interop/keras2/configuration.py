"""The configuration of a Keras 2 model, rewritten so that Keras 3 builds the same model from it."""

import inspect
from collections.abc import Mapping
from typing import Any

import keras

from kgated.interop.keras2.graph import Config, Places, consumers_of, plain, read_tokens

MODELS = ("Model", "Functional", "Sequential")
RENAMED = {
    "CuDNNLSTM": "LSTM",
    "CuDNNGRU": "GRU",
    "UnifiedLSTM": "LSTM",
    "UnifiedGRU": "GRU",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
}
"""Layers that have another name in Keras 3."""

CUDNN: dict[str, Config] = {
    "CuDNNLSTM": {"activation": "tanh", "recurrent_activation": "sigmoid"},
    "CuDNNGRU": {"activation": "tanh", "recurrent_activation": "sigmoid", "reset_after": True},
}
"""The options of a CuDNN layer that its configuration does not contain."""

NO_EFFECT = {
    *("implementation", "input_length", "batch_input_shape", "input_dtype", "input_spec"),
    *("fused", "virtual_batch_size", "renorm_clipping", "renorm_momentum", "adjustment"),
    *("query_shape", "key_shape", "value_shape"),  # MultiHeadAttention builds these again
    *("build_input_shape", "num_constants", "experimental_autocast", "layout_optimizer"),
}
"""Options of Keras 2 that do not change what a trained layer computes."""

HARD_SIGMOID = {
    "module": "builtins",
    "class_name": "function",
    "config": "keras2_hard_sigmoid",
    "registered_name": "kgated>keras2_hard_sigmoid",
}
NEUTRAL: tuple[Any, ...] = (None, False, [], {}, "")
INSIDE = ("layer", "backward_layer", "cell")
OPERATIONS = {"TensorFlowOpLayer", "TFOpLambda", "SlicingOpLambda", "ClassMethod"}
HINT = (
    "build the model again in Keras 3 with the same layer names and load only the weights by "
    "`model.load_weights(path)`"
)


class Translator:
    """Rewrites configurations of Keras 2.

    Args:
        keras2: whether Keras 2 wrote the file; its "hard_sigmoid" differs from that of Keras 3.
        custom_objects: name to class or function, for those not registered with Keras.
    """

    def __init__(self, keras2: bool, custom_objects: Mapping[str, Any]) -> None:
        self._keras2, self._custom = keras2, custom_objects

    def model(self, entry: Config) -> Config:
        """A Sequential or functional model, models in it included.

        Raises:
            ValueError: Keras 3 doesn't have a layer or an option; the message says what to do.
        """
        config = entry["config"]
        if isinstance(config, list):  # a Sequential before Keras 2.2.3
            config = {"name": "sequential", "layers": config}
        name, layers = plain(config.get("name")), [self.layer(entry) for entry in config["layers"]]
        if entry["class_name"] == "Sequential":
            layers = _with_input(layers, config["layers"], config.get("build_input_shape"))
            read_tokens(layers, {layers[0]["config"].get("name"): layers[1:2]})
            return _entry("Sequential", {"name": name, "layers": layers}, "keras")
        places = Places(config["layers"], self._keras2)
        for layer, source in zip(layers, config["layers"], strict=True):
            layer["name"] = plain(source["name"])
            nodes = source["inbound_nodes"]
            layer["inbound_nodes"] = [places.node(node, layer["class_name"]) for node in nodes]
        read_tokens(layers, consumers_of(layers))
        sides = {side: places.revived(config[side]) for side in ("input_layers", "output_layers")}
        return _entry("Model", {"name": name, "layers": layers, **sides}, "keras")

    def layer(self, entry: Config) -> Config:
        """One layer, layers and cells in it included."""
        kind, config = entry["class_name"], entry["config"]
        if kind in MODELS and not self._is_known(entry):
            return self.model(entry)
        name = str(config.get("name", entry.get("name", kind)))
        self._check(kind, name, entry)
        if self._is_known(entry):
            options = {k: v for k, v in config.items() if k != "batch_input_shape"}
            options |= _policy(options)
            return {
                **_entry(kind, options, entry.get("module")),
                "registered_name": _registered(entry),
            }
        target = str(RENAMED.get(kind, kind))
        config = {**CUDNN.get(kind, {}), **config, **_policy(config)}
        if target in ("GRU", "GRUCell"):
            config.setdefault("reset_after", False)  # the behaviour before the option existed
        config = self._inner(config)
        config = _known_options(getattr(keras.layers, target), target, name, config)
        if self._keras2 and config.get("activation") == "hard_sigmoid":
            config["activation"] = HARD_SIGMOID
        if "name" in config:
            config["name"] = plain(config["name"])
        return _entry(target, config, "keras.layers")

    def _inner(self, config: Config) -> Config:
        inner: dict[str, Any] = {
            key: self.layer(config[key]) for key in INSIDE if isinstance(config.get(key), dict)
        }
        if isinstance(config.get("cells"), list):
            inner["cells"] = [self.layer(cell) for cell in config["cells"]]
        return {**config, **inner}

    def _is_known(self, entry: Config) -> bool:
        """Whether the class is registered by the user or by kgated."""
        names = (entry.get("registered_name"), entry["class_name"])
        of_keras = str(entry.get("module") or "keras").startswith("keras")
        return any(
            name in self._custom or (name and keras.saving.get_registered_object(name))
            for name in names
        ) and not (of_keras and entry["class_name"] in vars(keras.layers) and "module" in entry)

    def _check(self, kind: str, name: str, entry: Config) -> None:
        """Raise an error for a layer that can't be built."""
        where = f"layer `{name}` ({kind})"
        if kind in OPERATIONS:
            raise ValueError(
                f"{where} is {_operation(entry['config'])} of TensorFlow in the middle of a Keras "
                "model, which Keras 3 doesn't have: replace it by a layer, such as Add, Multiply, "
                f"Rescaling, Concatenate or Reshape; {HINT}"
            )
        if kind == "Lambda":
            raise ValueError(
                f"{where} contains Python code, and kgated runs no code from a file: write it as a "
                f"subclass of `keras.layers.Layer`; {HINT}"
            )
        if not self._is_known(entry) and not hasattr(keras.layers, RENAMED.get(kind, kind)):
            raise ValueError(
                f"{where} is of a class that Keras 3 doesn't have: give the class by "
                f"`custom_objects={{'{kind}': {kind.rpartition('>')[2]}}}`, or, on the command "
                "line, the file that holds it by `--import my_layers.py`"
            )


def _entry(kind: str, config: Config, module: str | None) -> Config:
    return {"module": module, "class_name": kind, "config": config, "registered_name": None}


def _registered(entry: Config) -> str:
    return str(entry.get("registered_name") or entry["class_name"])


def _operation(config: Config) -> str:
    operator = config.get("function") or (config.get("node_def") or {})
    if isinstance(operator, dict):
        operator = operator.get("op", "an operation")
    return f"the operation `{operator}`" if isinstance(operator, str) else "an operation"


def _policy(config: Config) -> Config:
    """The name of the dtype policy."""
    dtype = config.get("dtype")
    if isinstance(dtype, dict):
        dtype = dtype["config"].get("name")
    if dtype in (None, "infer", "_infer"):
        return {"dtype": "float32"} if "dtype" in config else {}
    return {"dtype": dtype}


def _known_options(layer: Any, kind: str, name: str, config: Config) -> Config:
    """The options that Keras 3's layer has; raises for one that it lacks and that has an effect.

    Initializers are left out, because the weights are in the file.
    """
    if kind == "InputLayer":
        return _of_input(name, config)
    known = {"name", "trainable", "dtype", "activity_regularizer"}
    for base in layer.__mro__:
        known |= set(inspect.signature(vars(base).get("__init__", object)).parameters)
    options = {k: v for k, v in config.items() if not k.endswith("_initializer")}
    if kind == "LeakyReLU" and "alpha" in options:
        options["negative_slope"] = _number(options.pop("alpha"))
    if (
        isinstance(options.get("axis"), list)
        and len(options["axis"]) == 1
        and kind != "Normalization"
    ):
        (options["axis"],) = options["axis"]
    for option in options.keys() - known - NO_EFFECT:
        if options[option] not in NEUTRAL and (option, options[option]) != ("groups", 1):
            raise ValueError(
                f"layer `{name}` ({kind}) has `{option}={options[option]!r}`, which Keras 3 "
                f"doesn't have: leave it out; {HINT}"
            )
    return {k: v for k, v in options.items() if k in known and k not in NO_EFFECT}


def _of_input(name: str, config: Config) -> Config:
    if config.get("ragged"):
        raise ValueError(
            f"input `{name}` is ragged, which Keras 3 doesn't have: pad the sequences; {HINT}"
        )
    shape = config.get("batch_shape") or config.get("batch_input_shape")
    if shape is None and config.get("shape") is not None:
        shape = [config.get("batch_size"), *config["shape"]]
    dtype = {"dtype": config["dtype"]} if isinstance(config.get("dtype"), str) else {}
    return {"batch_shape": shape, "name": name, **dtype}


def _number(value: Any) -> Any:
    return value["value"] if isinstance(value, dict) and "value" in value else value


def _with_input(layers: list[Config], sources: list[Config], built: Any) -> list[Config]:
    """The layers of a Sequential model after an InputLayer."""
    if not layers or layers[0]["class_name"] == "InputLayer":
        return layers
    first = sources[0]["config"]
    shape = first.get("batch_input_shape") if isinstance(first, dict) else None
    if (shape or built) is None:
        if layers[0]["class_name"] in MODELS:
            return layers
        raise ValueError(
            "the file doesn't say the shape of the model's input: build the model with "
            f"`keras.Input((None, features))`; {HINT}"
        )
    name = f"{layers[0]['config']['name']}_input"
    config = {"batch_shape": list(shape or built), "name": name, "dtype": "float32"}
    return [_entry("InputLayer", config, "keras.layers"), *layers]
