"""Computes the mean over the frames of a mask in integers.

Keras divides the sum of the real frames by their number, and there is no integer kernel that
divides by a tensor. Such a division is replaced by one placeholder before the quantizer sees it,
and after it by operators that both runtimes have: the sum in int16, which is exact for short
sequences, times 2^15 in int32, divided by the number of frames, rescaled by a QUANTIZE.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.float_file import FloatFile
from kgated.deploy.tflite.layer_table import LayerTable, scopes

# An operator that the quantizer leaves in float, and that Keras does not write.
PLACEHOLDER = "REDUCE_PROD"
FRACTION = 2**15  # an int16 times this one is an int32
_TYPES = schema.TensorType
_RESHAPING = ("RESHAPE", "EXPAND_DIMS", "SQUEEZE")
_SELECTS = ("SELECT", "SELECT_V2")


@dataclass(frozen=True)
class MaskedMean:
    """The parameters of a masked mean that its placeholder does not contain.

    Attributes:
        mask: the name of the boolean tensor that says which frames are real.
        axes: of the mask, along which the real frames are counted.
        shape: of the number of real frames.
    """

    mask: str
    axes: tuple[int, ...]
    shape: tuple[int, ...]


def collapse_masked_means(file: FloatFile, skip: Collection[str] = ()) -> dict[str, MaskedMean]:
    """Put a placeholder for each division of a sum by the number of real frames.

    Args:
        file: a float file; it is changed.
        skip: layers that stay in float.

    Returns:
        Each mean by the name of its result.
    """
    skipped, means = scopes(skip), dict[str, MaskedMean]()
    for graph in file.model.subgraphs:
        makers = {int(n): o for o in graph.operators if o.outputs is not None for n in o.outputs}
        for operator in graph.operators:
            if flatbuffer.operator_name(file.model, operator) != "DIV":
                continue
            mean = _masked_mean(file.model, graph, makers, operator)
            if mean is not None and file.layers.layer(graph, operator) not in skipped:
                means[flatbuffer.tensor_name(graph.tensors[operator.outputs[0]])] = mean
                _collapse(file.model, operator, makers[int(operator.inputs[0])])
    if means:
        file.changed()
    return means


def _collapse(model: schema.ModelT, division: schema.OperatorT, total: schema.OperatorT) -> None:
    """The placeholder in place of a division, with the operands of the sum that it divides."""
    code = getattr(schema.BuiltinOperator, PLACEHOLDER)
    division.opcodeIndex = flatbuffer.code_index(model, code)
    division.inputs = total.inputs
    division.builtinOptionsType = total.builtinOptionsType
    division.builtinOptions = total.builtinOptions


def _masked_mean(
    model: schema.ModelT,
    graph: schema.SubGraphT,
    makers: Mapping[int, schema.OperatorT],
    division: schema.OperatorT,
) -> MaskedMean | None:
    """The mean that a division computes; None where it is another quotient."""
    total = makers.get(int(division.inputs[0]))
    count = _before_reshaping(model, makers, int(division.inputs[1]))
    if total is None or count is None:
        return None
    if any(flatbuffer.operator_name(model, o) != "SUM" for o in (total, count)):
        return None
    mask = _mask(model, graph, makers, int(count.inputs[0]))
    if mask is None:
        return None
    name = flatbuffer.tensor_name(graph.tensors[mask])
    axes = np.frombuffer(bytes(model.buffers[graph.tensors[count.inputs[1]].buffer].data), np.int32)
    rank = len(graph.tensors[mask].shape)
    shape = tuple(int(n) for n in graph.tensors[division.inputs[1]].shape)
    return MaskedMean(name, tuple(int(n) % rank for n in axes), shape)


def _before_reshaping(
    model: schema.ModelT, makers: Mapping[int, schema.OperatorT], n: int
) -> schema.OperatorT | None:
    """The operator that computes a tensor's numbers, before they were given another shape."""
    operator = makers.get(n)
    while operator is not None and flatbuffer.operator_name(model, operator) in _RESHAPING:
        operator = makers.get(int(operator.inputs[0]))
    return operator


def _mask(
    model: schema.ModelT, graph: schema.SubGraphT, makers: Mapping[int, schema.OperatorT], n: int
) -> int | None:
    """The boolean tensor that was cast to these zeros and ones, in the same shape."""
    operator = makers.get(n)
    if operator is None:
        return None
    name, condition = flatbuffer.operator_name(model, operator), int(operator.inputs[0])
    is_cast = name == "CAST" or (
        name in _SELECTS and [_scalar(model, graph, m) for m in operator.inputs[1:]] == [1.0, 0.0]
    )
    tensors = [graph.tensors[m] for m in (condition, n)]
    same_shape = tuple(tensors[0].shape) == tuple(tensors[1].shape)
    return condition if is_cast and same_shape and tensors[0].type == _TYPES.BOOL else None


def _scalar(model: schema.ModelT, graph: schema.SubGraphT, n: int) -> float | None:
    tensor = graph.tensors[n]
    if not flatbuffer.is_constant(model, tensor) or math.prod(tensor.shape) != 1:
        return None
    return float(np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.float32)[0])


def write_masked_mean(
    model: schema.ModelT,
    graph: schema.SubGraphT,
    layers: LayerTable,
    operator: schema.OperatorT,
    mean: MaskedMean,
    ends: tuple[int, int],
) -> None:
    """Put integer operators in place of a placeholder.

    Args:
        model: a quantized file; changed.
        graph: the subgraph of it that has the placeholder.
        layers: which layer each operator comes from.
        operator: the placeholder, which becomes the last one of them.
        mean: what it stands for.
        ends: the frames, zero where they are masked, and their mean: int8 or int16 tensors.
    """
    build = _Writer(model, graph, layers, operator, int(operator.outputs[0]))
    total, scale = _total(build, ends[0], int(operator.inputs[1]))
    divisor, shape = _number(build, mean), build.shape(total)
    product = build.add("CAST", shape, _TYPES.INT32, total)
    fraction = build.constant(np.array([FRACTION], np.int32))
    product = build.add("MUL", shape, _TYPES.INT32, product, fraction)
    quotient = build.add("DIV", shape, _TYPES.INT32, product, divisor, scale=scale / FRACTION)
    build.become("QUANTIZE", quotient, ends[1])


def _total(build: "_Writer", frames: int, axes: int) -> tuple[int, float]:
    """The sum of the frames in int16, and its scale, in which no sum saturates."""
    tensor, shape = build.graph.tensors[frames], build.shape(frames)
    params = flatbuffer.scale_and_zero_point(tensor)
    assert params is not None, "an integer tensor has a scale"
    # Of int8 the integers less the zero point reach to 255.
    frames_int16 = build.add("QUANTIZE", shape, _TYPES.INT16, frames, scale=params[0])
    summed = math.prod(shape[axis] for axis in build.numbers(axes))
    largest = 255 if tensor.type == _TYPES.INT8 else FRACTION
    scale = params[0] * max(1.0, largest * summed / FRACTION)
    result = build.shape(build.result)
    keep = len(result) == len(shape)
    total = build.add("SUM", result, _TYPES.INT16, frames_int16, axes, scale=scale, keep=keep)
    return total, scale


def _number(build: "_Writer", mean: MaskedMean) -> int:
    """The number of real frames in int32, 1 where there is none."""
    mask = build.tensor(mean.mask)
    shape = build.shape(mask)
    reduced = tuple(1 if n in mean.axes else size for n, size in enumerate(shape))
    ones = build.add("CAST", shape, _TYPES.INT16, mask, scale=1.0)
    axes = build.constant(np.array(mean.axes, np.int32))
    number = build.add("SUM", reduced, _TYPES.INT16, ones, axes, scale=1.0, keep=True)
    number = build.add("CAST", reduced, _TYPES.INT32, number)
    minimum = build.constant(np.ones(1, np.int32))
    number = build.add("MAXIMUM", reduced, _TYPES.INT32, number, minimum)
    wanted = build.constant(np.array(mean.shape, np.int32))
    return build.add("RESHAPE", mean.shape, _TYPES.INT32, number, wanted)


@dataclass
class _Writer:
    """Adds operators with integer tensors before one of a graph."""

    model: schema.ModelT
    graph: schema.SubGraphT
    layers: LayerTable
    operator: schema.OperatorT
    result: int  # the tensor whose layer and name the new ones have

    def shape(self, n: int) -> tuple[int, ...]:
        return tuple(int(size) for size in self.graph.tensors[n].shape)

    def tensor(self, name: str) -> int:
        names = [flatbuffer.tensor_name(tensor) for tensor in self.graph.tensors]
        return names.index(name)

    def numbers(self, n: int) -> list[int]:
        """A constant's integers."""
        data = self.model.buffers[self.graph.tensors[n].buffer].data
        return [int(value) for value in np.frombuffer(bytes(data), np.int32)]

    def constant(self, values: np.ndarray) -> int:
        return flatbuffer.add_constant(self.model, self.graph, self.result, "constant", values)

    def add(
        self,
        name: str,
        shape: tuple[int, ...],
        kind: int,
        *inputs: int,
        scale: float | None = None,
        keep: bool = False,
    ) -> int:
        """A new operator; returns its result, of a scale where one is given."""
        target = flatbuffer.add_tensor(self.graph, self.result, name.lower(), shape, kind)
        if scale is not None:
            self.graph.tensors[target].quantization = schema.QuantizationParametersT(
                scale=np.array([scale], np.float32), zeroPoint=np.zeros(1, np.int64)
            )
        self.layers.inherit(self.graph, target, self.result)
        operator = schema.OperatorT()
        self._set(operator, name, inputs, target)
        if keep:
            operator.builtinOptions.keepDims = True
        self.graph.operators.insert(self.graph.operators.index(self.operator), operator)
        return target

    def become(self, name: str, source: int, target: int) -> None:
        """The placeholder becomes the last of the operators."""
        self._set(self.operator, name, (source,), target)

    def _set(
        self, operator: schema.OperatorT, name: str, inputs: tuple[int, ...], target: int
    ) -> None:
        code = getattr(schema.BuiltinOperator, name)
        operator.opcodeIndex = flatbuffer.code_index(self.model, code)
        kind = _OPTIONS.get(name)
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind) if kind else 0
        operator.builtinOptions = getattr(schema, f"{kind}T")() if kind else None
        operator.inputs, operator.outputs = list(inputs), [target]


_OPTIONS = {
    "CAST": "CastOptions",
    "DIV": "DivOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MUL": "MulOptions",
    "SUM": "ReducerOptions",
}
