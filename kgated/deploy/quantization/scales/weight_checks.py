"""Proof that the constants of a quantized file are those of the float file, rounded.

The float file is proved by its outputs. Quantization is not to be judged by outputs: an error there
may be a fault or just coarse integers. So each constant is compared with the float one that it was
made from: weights and biases within half a step, as many operands, scales as fine as their range
allows, a bias in the product of the scales of input and weights.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.quantization.scales.bias_scales import BIAS, BIASED, WEIGHTS, needed_scale
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.constants import Constant, Constants
from kgated.deploy.tflite.layer_table import LayerTable
from kgated.errors import ConversionError

# Operators whose constant operand is a matrix or a kernel, of a symmetric scale of its own.
_WEIGHTED = {
    *("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "EMBEDDING_LOOKUP"),
    *("BATCH_MATMUL", "UNIDIRECTIONAL_SEQUENCE_LSTM"),
}
_ROUNDING = 0.5 + 1e-3  # of a step
_RELATIVE = 1e-5  # what float32 scales leave of a number
_COARSER = 1.02  # than the range of the weights needs
_MIN_SCALE = 1e-7  # of weights that are zero


@dataclass(frozen=True)
class _Operator:
    """An operator with constant operands beside those that are computed."""

    kind: str
    layer: str | None
    graph: schema.SubGraphT
    operator: schema.OperatorT
    constants: dict[int, Constant]

    @property
    def inputs(self) -> list[int]:
        """Its operands, -1 for what is left out at the end."""
        present = list(map(int, self.operator.inputs))
        while present and present[-1] < 0:
            present.pop()
        return present


def check_weights(source: schema.ModelT, quantized: schema.ModelT, layers: LayerTable) -> None:
    """Refuse a quantized file whose constants are not the rounded ones of the float file.

    Args:
        source: the float file as the quantizer got it.
        quantized: the result, its tensors with their names.
        layers: which layer each operator comes from.

    Raises:
        ConversionError: with the operator and its layer.
    """
    remaining = _operators(quantized, layers)
    for operator in _operators(source, layers):
        quantized_operator = next((o for o in remaining if o.kind == operator.kind), None)
        if quantized_operator is None:
            raise _broken(operator, "is not in the file, or lost its constants")
        _compare(operator, quantized_operator)


def _operators(model: schema.ModelT, layers: LayerTable) -> Iterator[_Operator]:
    """The operators with constants and computed operands, in the order of the file."""
    for graph in model.subgraphs:
        constants = Constants(model, graph)
        for operator in graph.operators:
            kind = flatbuffer.operator_name(model, operator)
            if kind in ("QUANTIZE", "DEQUANTIZE"):
                continue
            values = {k: constants.read(int(n)) for k, n in enumerate(operator.inputs)}
            known = {k: value for k, value in values.items() if value is not None}
            present = sum(int(n) >= 0 for n in operator.inputs)
            if known and len(known) < present:
                yield _Operator(kind, layers.layer(graph, operator), graph, operator, known)


def _compare(source: _Operator, quantized: _Operator) -> None:
    if [n >= 0 for n in source.inputs] != [n >= 0 for n in quantized.inputs]:
        raise _broken(source, "has other operands than in the float file: a bias is missing")
    if source.constants.keys() != quantized.constants.keys():
        raise _broken(source, "has other constants than in the float file")
    for slot, constant in source.constants.items():
        _check_values(source, slot, constant.values, quantized.constants[slot])
        if source.kind in _WEIGHTED and slot in _weight_slots(source):
            _check_scale(source, quantized, slot)
    _check_bias_scale(source, quantized)


def _weight_slots(operator: _Operator) -> set[int]:
    if operator.kind in BIASED:
        return {WEIGHTS}
    return {k for k, constant in operator.constants.items() if constant.values.ndim == 2}


def _check_values(operator: _Operator, slot: int, expected: np.ndarray, constant: Constant) -> None:
    if constant.values.shape != expected.shape:
        raise _broken(operator, f"has a constant of shape {constant.values.shape} there")
    error = expected - constant.values
    if operator.kind not in _WEIGHTED:  # it shares the scale of what is computed beside it
        error = np.where(error * constant.saturated > 0, 0.0, error)
    allowed = _ROUNDING * constant.step + _RELATIVE * np.abs(expected)
    if not (np.abs(error) <= allowed).all():
        worst = float(np.abs(error).max())
        raise _broken(
            operator,
            f"has a constant, operand {slot}, that differs by up to {worst:.3g} from the float "
            "file's, more than the rounding to its scale",
        )


def _check_scale(source: _Operator, quantized: _Operator, slot: int) -> None:
    """Refuse a scale that is coarser than the weights, or the bias beside them, need."""
    expected, constant = source.constants[slot].values, quantized.constants[slot]
    if constant.scale is None:
        return
    axes = tuple(k for k, n in enumerate(constant.step.shape) if n == 1)
    largest = np.abs(expected).max(axis=axes, keepdims=True, initial=0.0)
    finest = np.maximum(
        largest / (2 ** (constant.bits - 1) - 1), _scale_for_bias(source, quantized)
    )
    if (constant.step > _COARSER * finest + _MIN_SCALE).any():
        ratio = float((constant.step / np.maximum(finest, _MIN_SCALE)).max())
        raise _broken(source, f"has weights of a scale {ratio:.3g} times what they need")


def _scale_for_bias(source: _Operator, quantized: _Operator) -> np.ndarray:
    """The finest scale of the weights that the integers of a bias allow, 0 where there is none."""
    if source.kind not in BIASED or not {WEIGHTS, BIAS} <= source.constants.keys():
        return np.zeros(())
    x = flatbuffer.scale_and_zero_point(quantized.graph.tensors[quantized.operator.inputs[0]])
    if x is None or quantized.constants[BIAS].scale is None:
        return np.zeros(())
    needed, step = (
        needed_scale(source.constants[BIAS].values, x[0]),
        quantized.constants[WEIGHTS].step,
    )
    return needed.reshape(step.shape) if step.size > 1 else needed.max()


def _check_bias_scale(source: _Operator, quantized: _Operator) -> None:
    """Refuse an integer bias that is not in the scale of the sums that it is added to."""
    bias, weights = quantized.constants.get(BIAS), quantized.constants.get(WEIGHTS)
    if source.kind not in BIASED or bias is None or weights is None or bias.scale is None:
        return
    operand = quantized.graph.tensors[quantized.operator.inputs[0]]
    scaling = flatbuffer.scale_and_zero_point(operand)
    if scaling is None or weights.scale is None:
        raise _broken(source, "has an integer bias and float operands")
    expected = scaling[0] * weights.scale
    if bias.scale.shape != expected.shape or not np.allclose(bias.scale, expected, 1e-3, 0.0):
        raise _broken(source, "has a bias whose scale is not input scale times weight scale")


def _broken(operator: _Operator, reason: str) -> ConversionError:
    return ConversionError(
        f"the quantized file is broken: {operator.kind} of layer `{operator.layer}` {reason}; "
        "nothing was written. This is a defect of the conversion: try another `quantize`"
    )
