"""Convert layers of PyTorch to kgated's and Keras's, and LSTM and GRU back.

PyTorch has to be installed only to read files.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kgated.argument_checks import check_choice
from kgated.interop import gates
from kgated.interop.gates import Array, Weights
from kgated.interop.torch.layers import KINDS, kind_of, layers_of
from kgated.interop.torch.source import is_module, tensors_of
from kgated.layers import GRU, LSTM

SUFFIXES = ("", "_reverse")


def from_torch(
    source: Any,
    *,
    prefix: str = "",
    return_sequences: bool = True,
    update_gate: str = "state",
    kind: str | None = None,
    **options: Any,
) -> list[Any]:
    """Convert a PyTorch layer to Keras layers with its weights, first layer first.

    For an nn.LSTM or nn.GRU everything is read from the tensors: kind, sizes, number of layers,
    directions, `bias`, `proj_size`. PyTorch's i|f|g|o and r|z|n become i|f|c|o and z|r|h, and the
    two biases of an LSTM become their sum. `dropout` and `batch_first` are ignored: the layers take
    (B, T, F), and dropout between them is `keras.layers.Dropout`.

    nn.Linear becomes Dense, nn.Embedding Embedding, nn.BatchNorm1d BatchNormalization, nn.LayerNorm
    LayerNormalization, and nn.Conv1d Conv1D, which takes (B, T, F) where PyTorch's takes (B, F, T).
    A ZeroPadding1D precedes the Conv1D if its padding is neither none nor "same". Options come from
    the module. A state dict has no options; PyTorch's defaults or `options` apply.

    PyTorch's `out[:, -1]` of a bidirectional layer differs from `return_sequences=False`: in
    PyTorch the backward half has read only one frame, here the whole sequence; see
    docs/importing.md.

    Args:
        source: a `torch.nn.Module` of one of these kinds; a state dict, name to tensor or NumPy
            array; or the path of a `.pt` file with a state dict, as `torch.save` writes it. For an
            nn.LSTM or nn.GRU it holds `weight_ih_l0` (4U, F) or (3U, F), `weight_hh_l0` (4U, U) or
            (4U, P) or (3U, U), `bias_ih_l0` and `bias_hh_l0` (4U,) or (3U,), `weight_hr_l0` (P, U),
            the same with `_reverse`, and so on for each layer; else `weight`, `bias`,
            `running_mean` and `running_var`.
        prefix: of these names, such as `"encoder.lstm."`; other tensors are ignored.
        return_sequences: whether the last recurrent layer returns (B, T, U), as in PyTorch, or
            (B, U).
        update_gate: what z multiplies in the GRUs: "state", as in PyTorch, or "candidate"; both
            are exact.
        kind: "Linear", "Embedding", "BatchNorm1d", "LayerNorm" or "Conv1d", if the tensors don't
            determine it.
        options: of a Keras layer that is not recurrent: `activation="relu"`, `epsilon`,
            `strides`, or `padding="causal"` of a Conv1D.

    Returns:
        One built layer per PyTorch layer: `kgated.LSTM`, `kgated.GRU` (`reset_after=True`), a
        `keras.layers.Bidirectional` of them, or a layer of Keras.

    Raises:
        TypeError: `source` has another type.
        ValueError: a tensor is missing, unknown, or of the wrong shape; the message names it. Or
            the module is of another kind, or the file holds more than tensors.
        ImportError: `source` is a path, and PyTorch is not installed.
    """
    check_choice("update_gate", update_gate, ("state", "candidate"))
    if not isinstance(prefix, str):
        raise TypeError(f"`prefix` must be a text, such as 'encoder.'. Received: {prefix!r}")
    module = _module_of(source, prefix)
    state_dict = tensors_of(source)
    tensors = {k.removeprefix(prefix): v for k, v in state_dict.items() if k.startswith(prefix)}
    depth = sum(bool(re.fullmatch(r"weight_ih_l\d+", name)) for name in tensors)
    if not depth:
        if kind is None and not any("." in name for name in tensors):
            kind = kind_of(tensors) if module is None else type(module).__name__
        if kind not in KINDS:
            raise ValueError(_nothing_there(state_dict, prefix))
        return layers_of(kind, tensors, module, options)
    if options or kind:
        unknown = ", ".join([*options, *(["kind"] if kind else [])])
        raise ValueError(
            f"`source` is an nn.LSTM or nn.GRU, which takes no options: leave out {unknown}"
        )
    return _recurrent(tensors, depth, return_sequences, update_gate)


def _module_of(source: Any, prefix: str) -> Any:
    """The module of the layer to convert; None for tensors without a module."""
    if not is_module(source):
        return None
    path = prefix.rstrip(".")
    modules = dict(source.named_modules())
    if path not in modules:
        names = [f"{name}." for name in modules if name]
        raise ValueError(f"`prefix` must name a module in `source`: {names}. Received: {prefix!r}")
    module = modules[path]
    known = any(c.__name__ in (*KINDS, "LSTM", "GRU") for c in type(module).__mro__)
    if known or not list(module.children()):
        return module
    names = [name for name, _ in module.named_children()]
    raise ValueError(
        f"an nn.{type(module).__name__} is not one layer: select one of its layers by `prefix`, "
        f"one of {[f'{prefix}{name}.' for name in names]}"
    )


def _recurrent(
    tensors: dict[str, Any], depth: int, return_sequences: bool, update_gate: str
) -> list[Any]:
    """The layers of an nn.LSTM or nn.GRU."""
    suffixes = SUFFIXES if "weight_ih_l0_reverse" in tensors else SUFFIXES[:1]
    inputs, layers = None, []
    for n in range(depth):
        pair = [_take(tensors, f"l{n}{suffix}", inputs) for suffix in suffixes]
        inputs = sum(weights["recurrent_kernel"].shape[0] for weights in pair)
        sequences = return_sequences or n + 1 < depth
        directions = [
            _layer(weights, go_backwards=backwards, return_sequences=sequences)
            for backwards, weights in zip((False, True), pair, strict=False)
        ]
        layers.append(
            gates.join_directions(
                [gates.with_update_gate(layer, update_gate) for layer in directions]
            )
        )
    if tensors:
        raise ValueError(
            f"`state_dict` has tensors of no LSTM or GRU layer: {sorted(tensors)}; leave them out, "
            "or give `prefix`"
        )
    return layers


def _nothing_there(state_dict: Mapping[str, Any], prefix: str) -> str:
    modules = dict.fromkeys(name.rpartition(".")[0] + "." for name in state_dict if "." in name)
    hint = f"give `prefix`, one of {list(modules)}" if modules else f"it holds {sorted(state_dict)}"
    kinds = ", ".join(f"nn.{kind}" for kind in KINDS)
    return f"`{prefix or 'source'}` must be one nn.LSTM, nn.GRU, {kinds}; {hint}"


def _take(tensors: dict[str, Any], place: str, inputs: int | None) -> Weights:
    """Pop one direction of one layer from `tensors`, in kgated's names, shapes and gate order."""
    has_bias = f"bias_ih_{place}" in tensors or f"bias_hh_{place}" in tensors
    names = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if has_bias else [])]
    if missing := [f"{name}_{place}" for name in names if f"{name}_{place}" not in tensors]:
        raise ValueError(f"`state_dict` has no `{missing[0]}`. Received: {sorted(tensors)}")
    if f"weight_hr_{place}" in tensors:
        names.insert(0, "weight_hr")
    arrays = {name: gates.array(tensors.pop(f"{name}_{place}")) for name in names}
    for name in names:
        if arrays[name].ndim != (2 if name.startswith("weight") else 1):
            shape = arrays[name].shape
            raise ValueError(f"`{name}_{place}` has the wrong number of axes. Received: {shape}")
    _check_shapes(arrays, place, inputs)
    return _from_gru(arrays) if _is_gru(arrays) else _from_lstm(arrays)


def _is_gru(arrays: Weights) -> bool:
    rows, columns = arrays["weight_hh"].shape
    return "weight_hr" not in arrays and bool(rows == 3 * columns)


def _check_shapes(arrays: Weights, place: str, inputs: int | None) -> None:
    """Raise a ValueError for the first tensor whose shape doesn't fit the others."""
    if "weight_hr" in arrays:
        (outputs, units), kind = arrays["weight_hr"].shape, "(4U, P) of an LSTM with projection"
    else:
        outputs = units = arrays["weight_hh"].shape[1]
        kind = "(4U, U) of an LSTM, or (3U, U) of a GRU"
    rows = (3 if _is_gru(arrays) else 4) * units
    inputs = arrays["weight_ih"].shape[1] if inputs is None else inputs
    expected = {
        "weight_hh": ((rows, outputs), kind),
        "weight_ih": ((rows, inputs), "the rows of `weight_hh` by the size of the input"),
        "bias_ih": ((rows,), "the rows of `weight_hh`"),
        "bias_hh": ((rows,), "the rows of `weight_hh`"),
    }
    for name, (shape, meaning) in expected.items():
        if name in arrays:
            gates.check_shape(f"{name}_{place}", arrays[name], shape, meaning)


def _kernels(arrays: Weights) -> Weights:
    return {"kernel": arrays["weight_ih"].T, "recurrent_kernel": arrays["weight_hh"].T}


def _from_lstm(arrays: Weights) -> Weights:
    weights = _kernels(arrays)
    if "bias_ih" in arrays:
        weights["bias"] = arrays["bias_ih"] + arrays["bias_hh"]
    if "weight_hr" in arrays:
        weights["projection_kernel"] = arrays["weight_hr"].T
    return weights


def _from_gru(arrays: Weights) -> Weights:
    weights = _kernels(arrays)
    if "bias_ih" in arrays:
        weights["bias"] = np.stack([arrays["bias_ih"], arrays["bias_hh"]])
    return {name: gates.reorder(value, "rzh", "zrh") for name, value in weights.items()}


def _layer(weights: Weights, **options: Any) -> Any:
    state, columns = weights["recurrent_kernel"].shape
    if "projection_kernel" in weights:
        return gates.make(LSTM, columns // 4, weights, projection_units=state, **options)
    if columns == 4 * state:
        return gates.make(LSTM, state, weights, **options)
    return gates.make(GRU, state, weights, reset_after=True, update_gate="state", **options)


def to_torch(layers: Any) -> dict[str, Array]:
    """Convert layers to the state dict of a `torch.nn.LSTM` or `torch.nn.GRU` that equals them.

    Load it with `module.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()})`,
    where the module has `input_size=F`, `hidden_size=U`, `num_layers`, `bidirectional` and
    `proj_size=P` of the layers. The bias of an LSTM is stored in `bias_ih`.

    Zero peepholes, `coupled_gates` and `update_gate="candidate"` are rewritten exactly, as in
    `to_keras`.

    Args:
        layers: a built layer or a sequence of them, first layer first; `kgated.LSTM`,
            `PeepholeLSTM`, `GRU`, Keras's LSTM or GRU, or a `Bidirectional` of one.

    Returns:
        Name to array, in PyTorch's names, shapes and gate order.

    Raises:
        TypeError: another kind of layer.
        ValueError: PyTorch's module doesn't have an option of the layers, such as another
            activation or `reset_after=False`, or the layers differ in size.
    """
    stack = [gates.directions(item, "PyTorch") for item in _as_list(layers)]
    _check_alike(stack)
    tensors: dict[str, Array] = {}
    for n, pair in enumerate(stack):
        gates.require(pair[0], "PyTorch", go_backwards=False)
        for layer, suffix in zip(pair, SUFFIXES, strict=False):
            arrays = _to_gru(layer) if isinstance(layer, GRU) else _to_lstm(layer)
            for name, value in arrays.items():
                tensors[f"{name}_l{n}{suffix}"] = np.ascontiguousarray(value)
    return tensors


def _as_list(layers: Any) -> list[Any]:
    return list(layers) if isinstance(layers, Sequence) else [layers]


def _check_alike(stack: list[list[Any]]) -> None:
    """Raise a ValueError unless one PyTorch module can represent all layers."""
    layers = [layer for pair in stack for layer in pair]
    facts: dict[str, list[Any]] = {
        "kind": ["GRU" if isinstance(layer, GRU) else "LSTM" for layer in layers],
        "number of directions": [len(pair) for pair in stack],
    }
    for option in ("units", "use_bias", "projection_units"):
        facts[f"`{option}`"] = [getattr(layer, option, None) for layer in layers]
    for name, values in facts.items():
        if len(set(values)) != 1:
            raise ValueError(f"PyTorch has one {name} for all layers. Received: {values}")


def _to_lstm(layer: Any) -> Weights:
    target = "torch.nn.LSTM"
    gates.require(layer, target, activation="tanh", recurrent_activation="sigmoid")
    weights = gates.without_peepholes(layer, gates.plain_lstm(layer, target), target)
    arrays = {"weight_ih": weights["kernel"].T, "weight_hh": weights["recurrent_kernel"].T}
    if "bias" in weights:
        arrays |= {"bias_ih": weights["bias"], "bias_hh": np.zeros_like(weights["bias"])}
    if "projection_kernel" in weights:
        arrays["weight_hr"] = weights["projection_kernel"].T
    return arrays


def _to_gru(layer: Any) -> Weights:
    target = "torch.nn.GRU"
    gates.require(layer, target, activation="tanh", recurrent_activation="sigmoid")
    gates.require(layer, target, reset_after=True)
    weights = gates.state_weighing_gru(layer, target)
    weights = {name: gates.reorder(value, "zrh", "rzh") for name, value in weights.items()}
    arrays = {"weight_ih": weights["kernel"].T, "weight_hh": weights["recurrent_kernel"].T}
    if "bias" in weights:
        arrays["bias_ih"], arrays["bias_hh"] = weights["bias"]
    return arrays
