"""Convert PyTorch's layers that are not recurrent to Keras layers with the weights."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from kgated.errors import first_line
from kgated.interop import gates
from kgated.interop.gates import Weights

Options = dict[str, Any]


def layers_of(kind: str, tensors: Mapping[str, Any], module: Any, options: Options) -> list[Any]:
    """Convert one PyTorch layer to Keras layers: the layer, and its padding before it if any.

    Args:
        kind: a name in `KINDS`.
        tensors: name to tensor of the layer.
        module: the layer, for its options. None: a state dict without a module, with PyTorch's
            default options.
        options: of the Keras layer; they override those of the module.

    Raises:
        ValueError: Keras's layer doesn't have an option, or a tensor is missing or unknown.
    """
    arrays = {name: gates.array(value) for name, value in tensors.items() if value is not None}
    arrays.pop("num_batches_tracked", None)
    if "weight" not in arrays and kind in ("Linear", "Embedding", "Conv1d"):
        raise ValueError(f"an nn.{kind} must have a `weight`. Received: {sorted(arrays)}")
    if unknown := sorted(arrays.keys() - {"weight", "bias", "running_mean", "running_var"}):
        raise ValueError(f"an nn.{kind} has no tensors {unknown}; give a `prefix`")
    try:
        return KINDS[kind](arrays, module, options)
    except _RefusedError:
        raise
    except (TypeError, ValueError, KeyError) as error:
        shapes = {name: array.shape for name, array in arrays.items()}
        raise ValueError(
            f"Keras can't build the layer of an nn.{kind} with tensors of shapes {shapes} and "
            f"options {options}: {first_line(error)}; give another `kind`, or options that "
            "Keras's layer has"
        ) from error


def kind_of(tensors: Mapping[str, Any]) -> str | None:
    """The kind of layer that a state dict belongs to, determined from its tensors.

    Raises:
        ValueError: the tensors fit both an nn.Linear without a bias and an nn.Embedding.
    """
    if "running_mean" in tensors:
        return "BatchNorm1d"
    axes = len(tensors["weight"].shape) if "weight" in tensors else 0
    if axes == 2 and "bias" not in tensors:
        raise ValueError(
            "a `weight` of two axes without a `bias` fits an nn.Linear and an nn.Embedding: "
            "give `kind='Linear'` or `kind='Embedding'`"
        )
    return {1: "LayerNorm", 2: "Linear", 3: "Conv1d"}.get(axes)


def _built(layer: Any, shape: tuple[Any, ...], weights: list[Any]) -> Any:
    layer.build(shape)
    layer.set_weights(weights)
    return layer


def _option(module: Any, name: str, default: Any) -> Any:
    return default if module is None else getattr(module, name)


class _RefusedError(ValueError):
    """Keras's layer does not have an option of PyTorch's layer."""


def _refuse(kind: str, option: str, value: Any) -> ValueError:
    return _RefusedError(
        f"Keras can't express `{option}={value!r}` of an nn.{kind}: train the module without it"
    )


def _linear(arrays: Weights, module: Any, options: Options) -> list[Any]:
    kernel = arrays["weight"].T
    options = {"use_bias": "bias" in arrays, "dtype": kernel.dtype.name} | options
    weights = [kernel, *([arrays["bias"]] if "bias" in arrays else [])]
    return [_built(keras.layers.Dense(kernel.shape[1], **options), (None, len(kernel)), weights)]


def _embedding(arrays: Weights, module: Any, options: Options) -> list[Any]:
    if (norm := _option(module, "max_norm", None)) is not None:
        raise _refuse("Embedding", "max_norm", norm)
    table = arrays["weight"]
    options = {"dtype": table.dtype.name} | options
    return [_built(keras.layers.Embedding(*table.shape, **options), (None, None), [table])]


def _batch_norm(arrays: Weights, module: Any, options: Options) -> list[Any]:
    if "running_mean" not in arrays:
        raise _refuse("BatchNorm1d", "track_running_stats", False)
    momentum = _option(module, "momentum", 0.1)
    defaults = {
        "epsilon": _option(module, "eps", 1e-5),
        "momentum": 0.99 if momentum is None else 1.0 - momentum,
        "scale": "weight" in arrays,
        "center": "bias" in arrays,
        "dtype": arrays["running_mean"].dtype.name,
    }
    names = [n for n in ("weight", "bias", "running_mean", "running_var") if n in arrays]
    layer = keras.layers.BatchNormalization(**defaults | options)
    shape = (None, None, len(arrays["running_mean"]))
    return [_built(layer, shape, [arrays[name] for name in names])]


def _layer_norm(arrays: Weights, module: Any, options: Options) -> list[Any]:
    shape = tuple(_option(module, "normalized_shape", arrays["weight"].shape if arrays else ()))
    if len(shape) != 1:
        raise _refuse("LayerNorm", "normalized_shape", shape)
    defaults: Options = {
        "epsilon": _option(module, "eps", 1e-5),
        "scale": "weight" in arrays,
        "center": "bias" in arrays,
    }
    names = [name for name in ("weight", "bias") if name in arrays]
    if names:
        defaults["dtype"] = arrays[names[0]].dtype.name
    layer = keras.layers.LayerNormalization(**defaults | options)
    return [_built(layer, (None, None, *shape), [arrays[name] for name in names])]


def _conv(arrays: Weights, module: Any, options: Options) -> list[Any]:
    if (mode := _option(module, "padding_mode", "zeros")) != "zeros":
        raise _refuse("Conv1d", "padding_mode", mode)
    kernel = np.transpose(arrays["weight"], (2, 1, 0))  # (K, F / groups, filters)
    (stride,), (dilation,) = (_option(module, name, (1,)) for name in ("stride", "dilation"))
    padding = _option(module, "padding", (0,))
    frames = padding[0] if not isinstance(padding, str) else 0
    reach = dilation * (len(kernel) - 1)
    same = padding == "same" or (frames > 0 and 2 * frames == reach and stride == 1)
    groups = _option(module, "groups", 1)
    defaults = {
        "strides": stride,
        "dilation_rate": dilation,
        "groups": groups,
        "padding": "same" if same else "valid",
        "use_bias": "bias" in arrays,
        "dtype": kernel.dtype.name,
    }
    layer = keras.layers.Conv1D(kernel.shape[2], len(kernel), **defaults | options)
    weights = [kernel, *([arrays["bias"]] if "bias" in arrays else [])]
    conv = _built(layer, (None, None, kernel.shape[1] * groups), weights)
    before = frames and not same and "padding" not in options
    return [keras.layers.ZeroPadding1D(frames), conv] if before else [conv]


KINDS: dict[str, Callable[[Weights, Any, Options], list[Any]]] = {
    "Linear": _linear,
    "Embedding": _embedding,
    "BatchNorm1d": _batch_norm,
    "LayerNorm": _layer_norm,
    "Conv1d": _conv,
}
