"""Convert ONNX LSTM and GRU nodes to kgated's layers; onnx is imported only when called."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from kgated.interop import gates
from kgated.interop.gates import Array, Weights
from kgated.interop.onnx.activations import from_onnx_names
from kgated.layers import GRU, LSTM, PeepholeLSTM

INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
STATES = ("initial_h", "initial_c")
DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
FUNCTIONS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}
ATTRIBUTES = {
    *("hidden_size", "direction", "layout", "input_forget", "linear_before_reset"),
    *("activations", "activation_alpha", "activation_beta"),
}


class OnnxLayer(NamedTuple):
    """The layer of a node, and the arguments of the layer's call.

    Attributes:
        layer: the layer with the node's weights.
        initial_state: the node's constant initial state in the order of the layer's argument:
            h (B, U) and c (B, U), then those of the backward direction. None: no constant.
        at_run_time: names of the node's inputs that the graph computes: `initial_h` and
            `initial_c` correspond to the layer's `initial_state`, `sequence_lens` to its `mask`.
    """

    layer: Any
    initial_state: list[Array] | None
    at_run_time: tuple[str, ...]


def from_onnx(model: Any, **options: Any) -> list[OnnxLayer]:
    """Convert all LSTM and GRU nodes of an ONNX model.

    Args:
        model: an `onnx.ModelProto`.
        options: as of `from_onnx_node`, which also says what is refused.

    Returns:
        A layer per node, in the order of the graph.

    Raises:
        ValueError: the graph has no such node.
    """
    from onnx import numpy_helper

    constants = {
        initializer.name: numpy_helper.to_array(initializer)
        for initializer in model.graph.initializer
    }
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    nodes = [node for node in model.graph.node if node.op_type in FUNCTIONS]
    if not nodes:
        operators = sorted({node.op_type for node in model.graph.node})
        raise ValueError(f"`model` has no LSTM or GRU node, only {operators}")
    return [from_onnx_node(node, constants, **options) for node in nodes]


def from_onnx_node(
    node: Any,
    constants: Mapping[str, Any],
    *,
    return_sequences: bool = True,
    update_gate: str = "state",
) -> OnnxLayer:
    """Convert an ONNX LSTM or GRU node to the layer that computes the same.

    The gate order iofc becomes i|f|c|o. The two halves of B are added, except for a GRU with
    `linear_before_reset`, which keeps both. A node with P becomes a `PeepholeLSTM`. ONNX Runtime
    computes `input_forget` as f = 1 - i; the layer has `coupled_gates=True`, i = 1 - f, and
    negated weights. The layer's arrays are (B, T, …), those of a node with `layout=0` (T, B, …). A
    "reverse" layer returns the last step first, as Keras's layers do.

    Args:
        node: an `onnx.NodeProto`.
        constants: name to array for W (D, 4U, F), R (D, 4U, U), B (D, 8U), P (D, 3U), and
            initial_h and initial_c (D, B, U) if constant; D directions, 3U and 6U for a GRU.
        return_sequences: whether the layer returns (B, T, U) or (B, U).
        update_gate: what z multiplies in a GRU: "state", as in ONNX, or "candidate"; both exact.

    Raises:
        ValueError: kgated's layers don't have an attribute (such as `clip`) or activation of the
            node, or a tensor is missing or has the wrong shape; the message names it.
    """
    facts = _parse(node, constants)
    _check_options(facts)
    _check_tensors(facts)
    layers = [
        _layer(facts, d, update_gate, return_sequences=return_sequences)
        for d in range(len(facts.backwards))
    ]
    run_time_inputs = [
        k for k in facts.inputs if k in ("sequence_lens", *STATES) and k not in facts.tensors
    ]
    return OnnxLayer(gates.join_directions(layers), _initial_state(facts), tuple(run_time_inputs))


@dataclass(frozen=True)
class _Node:
    """A recurrent node.

    `inputs` holds the names of its inputs, `tensors` the constant ones, and `backwards` whether
    each direction runs backwards.
    """

    op: str
    called: str
    attributes: dict[str, Any]
    backwards: tuple[bool, ...]
    inputs: tuple[str, ...]
    tensors: dict[str, Array]

    def has(self, attribute: str) -> bool:
        return bool(self.attributes.get(attribute, 0))


def _parse(node: Any, constants: Mapping[str, Any]) -> _Node:
    from onnx.helper import get_attribute_value

    values = {attribute.name: get_attribute_value(attribute) for attribute in node.attribute}
    backwards = DIRECTIONS[values.get("direction", b"forward").decode()]
    if "activations" in values:
        values["activations"] = [name.decode() for name in values["activations"]]
    named = {name: tensor for name, tensor in zip(INPUTS, node.input, strict=False) if tensor}
    tensors = {
        k: gates.array(constants[tensor]) for k, tensor in named.items() if tensor in constants
    }
    called = f" of {node.op_type} node {node.name or node.output[0]!r}"
    return _Node(node.op_type, called, values, backwards, tuple(named), tensors)


def _check_options(node: _Node) -> None:
    """Raise a ValueError for a node or an attribute that kgated's layers don't have."""
    if node.op not in FUNCTIONS:
        raise ValueError(f"`node` must be an LSTM or a GRU. Received: {node.op}")
    if unknown := sorted(node.attributes.keys() - ATTRIBUTES):
        name, value = unknown[0], node.attributes[unknown[0]]
        raise ValueError(f"Our layers can't express `{name}={value}`{node.called}")


def _check_tensors(node: _Node) -> None:
    """Raise a ValueError for the first tensor that is missing or of the wrong shape."""
    for name in ("W", "R", "B", "P"):
        if name not in node.tensors and (name in node.inputs or name in ("W", "R")):
            raise ValueError(f"`{name}`{node.called} must be a constant of the graph")
    d, n = len(node.backwards), 3 if node.op == "GRU" else 4
    u = int(node.attributes.get("hidden_size") or _units(node))
    shapes: dict[str, tuple[tuple[int, ...], str]] = {
        "R": ((d, n * u, u), f"(D, {n}U, U)"),
        "W": ((d, n * u, node.tensors["W"].shape[-1]), f"(D, {n}U, F)"),
        "B": ((d, 2 * n * u), f"(D, {2 * n}U)"),
        "P": ((d, 3 * u), "(D, 3U)"),
    }
    for name in STATES:
        if name in node.tensors:
            shape = node.tensors[name].shape
            shapes[name] = ((d, *shape[1:2], u), "(D, B, U)")
            if node.has("layout"):
                shapes[name] = ((*shape[:1], d, u), "(B, D, U)")
    for name, (expected, meaning) in shapes.items():
        if name in node.tensors:
            gates.check_shape(name, node.tensors[name], expected, meaning, node.called)


def _activations(node: _Node, d: int) -> dict[str, str]:
    """The activations of direction `d` as options of a Keras layer."""
    default = FUNCTIONS[node.op]
    names = from_onnx_names(node.attributes, default * len(node.backwards))
    gate, cell, *output = names[d * len(default) : (d + 1) * len(default)]
    if output not in ([], [cell]):
        raise ValueError(
            f"Our layers can't express `activations`{node.called} with {cell!r} for the cell's "
            f"input and {output[0]!r} for its output"
        )
    return {"recurrent_activation": gate, "activation": cell}


def _columns(node: _Node, d: int) -> Weights:
    columns = {"kernel": node.tensors["W"][d].T, "recurrent_kernel": node.tensors["R"][d].T}
    if "B" in node.tensors:
        both = node.tensors["B"][d].reshape(2, -1)
        columns["bias"] = both if node.has("linear_before_reset") else both[0] + both[1]
    return columns


def _layer(node: _Node, d: int, update_gate: str, **options: Any) -> Any:
    """The layer of direction `d`."""
    options |= _activations(node, d)
    options["go_backwards"] = node.backwards[d]
    options["zero_output_for_mask"] = "sequence_lens" in node.inputs
    if node.op == "GRU":
        options["reset_after"] = node.has("linear_before_reset")
        layer = gates.make(GRU, _units(node), _columns(node, d), update_gate="state", **options)
        return gates.with_update_gate(layer, update_gate)
    layer = _lstm(node, d, options)
    if layer.coupled_gates:
        gates.require_symmetric(layer, "A coupled layer", f"`input_forget=1`{node.called}")
    return layer


def _units(node: _Node) -> int:
    return int(node.tensors["R"].shape[-1])


def _lstm(node: _Node, d: int, options: dict[str, Any]) -> Any:
    coupled = node.has("input_forget")
    weights = {
        name: gates.reorder(_coupled(v) if coupled else v, "iofc", "ico" if coupled else "ifco")
        for name, v in _columns(node, d).items()
    }
    if "P" not in node.tensors:
        return gates.make(LSTM, _units(node), weights, coupled_gates=coupled, **options)
    peepholes = dict(zip("iof", np.split(node.tensors["P"][d], 3), strict=True))
    rows = [-peepholes["i"], peepholes["o"]] if coupled else [peepholes[gate] for gate in "ifo"]
    weights["peephole_kernel"] = np.stack(rows)
    return gates.make(PeepholeLSTM, _units(node), weights, coupled_gates=coupled, **options)


def _coupled(columns: Array) -> Array:
    # f = 1 - i = σ(-a): the layer's f is the node's i negated; the node's f is not used.
    return gates.negate(columns, "iofc", "i")


def _initial_state(node: _Node) -> list[Array] | None:
    """The constant initial state in the layer's order; zeros for the one that is not constant."""
    constant = [name for name in STATES if name in node.tensors]
    if not constant:
        return None
    axis = 1 if node.has("layout") else 0
    states = {name: np.moveaxis(node.tensors[name], axis, 0) for name in constant}
    names = STATES if node.op == "LSTM" else STATES[:1]
    zeros = np.zeros_like(states[constant[0]])
    return [states.get(name, zeros)[d] for d in range(len(node.backwards)) for name in names]
