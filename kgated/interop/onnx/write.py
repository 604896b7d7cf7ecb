"""Convert kgated's layers to ONNX models of one LSTM or GRU node; onnx is imported when called."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from kgated.interop import gates
from kgated.interop.gates import Array, Weights
from kgated.interop.onnx.activations import to_onnx_names
from kgated.interop.onnx.read import STATES
from kgated.layers import GRU, PeepholeLSTM

OPSET, IR_VERSION = 14, 8


def to_onnx(
    layer: Any, initial_state: Iterable[Any] | None = None, *, state_inputs: bool = False
) -> Any:
    """Convert a layer to an ONNX model with one LSTM or GRU node that computes the same.

    The model has the input `X` (T, B, F) and the outputs `Y` (T, D, B, U), `Y_h` (D, B, U) and, for
    an LSTM, `Y_c` (D, B, U), where D is the number of directions. This is ONNX's `layout=0`, the
    only one that ONNX Runtime supports. Y is in the order of the input, also with `go_backwards`.

    `update_gate="candidate"` is rewritten exactly, as in `to_keras`. A coupled LSTM sets
    `input_forget`; its weights are also correct for runtimes that ignore that attribute.

    Args:
        layer: a built `kgated.LSTM`, `PeepholeLSTM`, `GRU`, Keras's LSTM or GRU, or a
            `Bidirectional` of one.
        initial_state: constants to write into the model, in the order of the layer's argument:
            h (B, U) and c (B, U), then those of the backward direction. None: zeros.
        state_inputs: make `initial_h` and, for an LSTM, `initial_c` (D, B, U) inputs of the model,
            so that the caller can carry the state from one call to the next.

    Returns:
        An `onnx.ModelProto`, opset 14.

    Raises:
        TypeError: another kind of layer.
        ValueError: ONNX doesn't have an option of the layer: projection, layer normalization,
            `peephole="full"`, `output_peephole="previous"`, some activations. Or both
            `initial_state` and `state_inputs` are set.
    """
    pair = gates.directions(layer, "ONNX")
    op = "GRU" if isinstance(pair[0], GRU) else "LSTM"
    tensors = _stacked([_tensors(direction) for direction in pair])
    state = [] if initial_state is None else [gates.array(value) for value in initial_state]
    names = STATES[: 1 if op == "GRU" else 2]
    if state and state_inputs:
        raise ValueError("`initial_state` must be None with `state_inputs=True`")
    tensors |= _initial_state(state, names, len(pair), pair[0].units)
    return _model(op, tensors, _attributes(pair), names if state_inputs else ())


def _tensors(layer: Any) -> Weights:
    """W, R, B and P of one direction, without the axis of directions."""
    if isinstance(layer, GRU):
        return _fused(gates.state_weighing_gru(layer, "ONNX"))
    gates.require(layer, "ONNX", projection_units=None)
    if isinstance(layer, PeepholeLSTM):
        gates.require(layer, "ONNX", peephole="diagonal", output_peephole="current")
    weights = gates.plain_lstm(layer, "ONNX")
    peepholes = weights.pop("peephole_kernel", None)
    tensors = _fused({k: gates.reorder(v, "ifco", "iofc") for k, v in weights.items()})
    if peepholes is not None:
        tensors["P"] = gates.reorder(peepholes.reshape(-1), "ifo", "iof")
    return tensors


def _fused(weights: Weights) -> Weights:
    tensors = {"W": weights["kernel"].T, "R": weights["recurrent_kernel"].T}
    if "bias" in weights:
        bias = weights["bias"]
        both = bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])
        tensors["B"] = both.reshape(-1)
    return tensors


def _stacked(directions: list[Weights]) -> Weights:
    shapes = [{name: value.shape for name, value in tensors.items()} for tensors in directions]
    if shapes[0] != shapes[-1]:
        raise ValueError(f"ONNX has one size for both directions. Received: {shapes}")
    return {name: np.stack([tensors[name] for tensors in directions]) for name in directions[0]}


def _initial_state(
    arrays: list[Array], names: tuple[str, ...], directions: int, units: int
) -> Weights:
    """`initial_h` and `initial_c` (D, B, U) from the arrays (B, U) of each direction in turn."""
    if arrays and len(arrays) != directions * len(names):
        raise ValueError(
            f"`initial_state` must be {directions * len(names)} arrays. Received: {len(arrays)}"
        )
    for n, value in enumerate(arrays):
        gates.check_shape(f"initial_state[{n}]", value, (arrays[0].shape[0], units), "(B, U)")
    return {name: np.stack(arrays[n :: len(names)]) for n, name in enumerate(names) if arrays}


def _attributes(pair: list[Any]) -> dict[str, Any]:
    direction = "reverse" if pair[0].go_backwards else "forward"
    attributes: dict[str, Any] = {
        "hidden_size": pair[0].units,
        "direction": direction if len(pair) == 1 else "bidirectional",
        **to_onnx_names([name for layer in pair for name in _functions(layer)]),
    }
    option, attribute = ("coupled_gates", "input_forget")
    if isinstance(pair[0], GRU):
        option, attribute = ("reset_after", "linear_before_reset")
    values = {int(getattr(layer, option)) for layer in pair}
    if len(values) > 1:
        raise ValueError(f"ONNX has one `{option}` for both directions. Received: False and True")
    return {**attributes, attribute: values.pop()}


def _functions(layer: Any) -> list[str]:
    gate = gates.activation_name(layer.recurrent_activation)
    cell = gates.activation_name(layer.activation)
    return [gate, cell] if isinstance(layer, GRU) else [gate, cell, cell]


def _model(op: str, tensors: Weights, attributes: dict[str, Any], fed: tuple[str, ...]) -> Any:
    from onnx import helper, numpy_helper

    kind = helper.np_dtype_to_tensor_dtype(tensors["W"].dtype)
    names = ("W", "R", "B", "", *STATES, "P")[: 5 if op == "GRU" else 7]
    inputs = ["X", *(name if name in tensors or name in fed else "" for name in names)]
    d, _, features = tensors["W"].shape
    state = [d, "B", attributes["hidden_size"]]
    input_shapes = {"X": ["T", "B", features], **dict.fromkeys(fed, state)}
    output_shapes = {"Y": ["T", *state], "Y_h": state, "Y_c": state}
    if op == "GRU":
        del output_shapes["Y_c"]
    node = helper.make_node(op, inputs, list(output_shapes), name=op.lower(), **attributes)
    graph = helper.make_graph(
        [node],
        "kgated",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in input_shapes.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in output_shapes.items()],
        [numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in tensors.items()],
    )
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(
        graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="kgated"
    )
