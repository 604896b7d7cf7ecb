"""Proof that the scales of a statically quantized file follow from the calibrated ranges."""

from collections.abc import Iterator

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.quantization.ranges.calibration import Ranges
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.lstm_operator import H_STATE
from kgated.errors import ConversionError

LSTM = "UNIDIRECTIONAL_SEQUENCE_LSTM"
# Operators that copy integers: operands and result mean the same numbers in one scale alone.
_COPIES = {
    *("BROADCAST_TO", "CONCATENATION", "EXPAND_DIMS", "GATHER", "MAX_POOL_2D", "MAXIMUM"),
    *("MINIMUM", "PACK", "PAD", "REDUCE_MAX", "REDUCE_MIN", "RESHAPE", "REVERSE_V2", "SELECT"),
    *("SELECT_V2", "SLICE", "SPLIT", "SPLIT_V", "SQUEEZE", "STRIDED_SLICE", "TILE", "TRANSPOSE"),
    "UNPACK",
}
# Operators that take one of their operands, and the first of those.
_FIRST_SELECTED = {"SELECT": 1, "SELECT_V2": 1, "MAXIMUM": 0, "MINIMUM": 0}
# Their kernels fix the scale of the result.
_FIXED = {"LOGISTIC", "TANH", "SOFTMAX", "LOG_SOFTMAX", "L2_NORMALIZATION"}
_LIMITS = {schema.TensorType.INT8: (-128, 127), schema.TensorType.INT16: (-32767, 32767)}
_OUTSIDE = 1.5  # steps that a range may reach over
_WIDER = 1.05  # than the range needs
_MIN_WIDTH = 1e-6  # of a range; a narrower one has a scale of its own rule
_Group = tuple[int, float, int]


def check_scales(model: schema.ModelT, ranges: Ranges) -> None:
    """Refuse scales that calibration does not explain, and copies from one scale to another.

    Args:
        model: the quantized file, its tensors with their names.
        ranges: by tensor name, those that the quantizer used.

    Raises:
        ConversionError: with the tensor or the operator.
    """
    for graph in model.subgraphs:
        _check_copies(model, graph)
        _check_lstm_states(model, graph)
        _check_cover(graph, ranges, _free(model, graph), _selected(model, graph))


def _check_copies(model: schema.ModelT, graph: schema.SubGraphT) -> None:
    for operator in graph.operators:
        name = flatbuffer.operator_name(model, operator)
        ends = [graph.tensors[n] for n in (*operator.outputs, *operator.inputs) if n >= 0]
        groups = {g for t in ends if (g := _group(t)) is not None}
        if name in _COPIES and len(groups) > 1:
            raise ConversionError(
                f"the quantized file is broken: {name} copies integers of one scale into another, "
                f"to `{flatbuffer.tensor_name(ends[0])}`: a QUANTIZE is missing; nothing was "
                "written. Try another `quantize`"
            )


def _check_lstm_states(model: schema.ModelT, graph: schema.SubGraphT) -> None:
    """A fused LSTM's kernel stores the integers of its result as the state, without its scale."""
    for operator in graph.operators:
        if flatbuffer.operator_name(model, operator) != LSTM:
            continue
        state, result = graph.tensors[operator.inputs[H_STATE]], graph.tensors[operator.outputs[0]]
        if _group(state) != _group(result):
            raise _wrong(flatbuffer.tensor_name(state), "that its next value does not have")


def _free(model: schema.ModelT, graph: schema.SubGraphT) -> set[_Group]:
    """The scales that kernels fix, which ranges do not explain."""
    fixed = set[_Group]()
    for operator in graph.operators:
        if flatbuffer.operator_name(model, operator) in _FIXED:
            fixed |= {g for n in operator.outputs if (g := _group(graph.tensors[n])) is not None}
    return fixed


def _selected(model: schema.ModelT, graph: schema.SubGraphT) -> set[str]:
    """The operands of which one is taken; they have the result's scale, and the rest may saturate.

    At a masked step a cell computes values from padding. They are wider than the result of SELECT.
    """
    names = set[str]()
    for operator in graph.operators:
        first = _FIRST_SELECTED.get(flatbuffer.operator_name(model, operator))
        if first is not None:
            names |= {flatbuffer.tensor_name(graph.tensors[n]) for n in operator.inputs[first:]}
    return names


def _check_cover(
    graph: schema.SubGraphT, ranges: Ranges, fixed: set[_Group], selected: set[str]
) -> None:
    unions: dict[_Group, tuple[float, float]] = {}
    for name, group, (low, high) in _calibrated(graph, ranges):
        if name not in selected:
            _check_inside(name, group, low, high)
        before = unions.get(group, (0.0, 0.0))
        unions[group] = min(before[0], low), max(before[1], high)
    for group, (low, high) in unions.items():
        kind, scale, _ = group
        needed = max(-low, high) / 32767 if kind == schema.TensorType.INT16 else (high - low) / 255
        if group not in fixed and needed * 255 > _MIN_WIDTH and scale > _WIDER * needed:
            names = [name for name, key, _ in _calibrated(graph, ranges) if key == group]
            raise _wrong(names[0], f"{scale / needed:.3g} times what its values need")


def _calibrated(
    graph: schema.SubGraphT, ranges: Ranges
) -> Iterator[tuple[str, _Group, tuple[float, float]]]:
    """Name, scale and range of each integer tensor that has a range.

    The states of a fused LSTM have no calibrated values: the operator fixes their scales.
    """
    for tensor in graph.tensors:
        name, group = flatbuffer.tensor_name(tensor), _group(tensor)
        if group is not None and name in ranges and not (tensor.buffer or tensor.isVariable):
            ends = (float(np.asarray(ranges[name][end]).ravel()[0]) for end in ("min", "max"))
            low, high = ends
            yield name, group, (min(low, 0.0), max(high, 0.0))


def _check_inside(name: str, group: _Group, low: float, high: float) -> None:
    kind, scale, zero = group
    smallest, largest = ((limit - zero) * scale for limit in _LIMITS[kind])
    outside = max(smallest - low, high - largest) / scale
    if outside > _OUTSIDE and high - low > _MIN_WIDTH:
        raise _wrong(
            name, f"for {smallest:.3g} to {largest:.3g}, and its values are {low:.3g} to {high:.3g}"
        )


def _group(tensor: schema.TensorT) -> _Group | None:
    parameters = flatbuffer.scale_and_zero_point(tensor)
    if parameters is None or tensor.type not in _LIMITS:
        return None
    return (int(tensor.type), *parameters)


def _wrong(name: str, reason: str) -> ConversionError:
    return ConversionError(
        f"the quantized file is broken: tensor `{name}` has a scale {reason}; nothing was written. "
        "Try another `quantize`"
    )
