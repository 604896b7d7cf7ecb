"""A fused LSTM operator in integers: int8 in and out, int16 cell state, as microcontrollers run it.

Runs after the quantizer, which leaves the operator in float between DEQUANTIZE and QUANTIZE.
"""

import math
from collections.abc import Collection, Mapping

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.quantization.lstm.ranges import LstmRanges
from kgated.deploy.quantization.lstm.weights import (
    DTYPES,
    INT8,
    INT16,
    INT32,
    MATRICES,
    PEEPHOLES,
    PROJECTION,
    Graph,
    quantization,
)
from kgated.deploy.tflite.cleanup import eliminate_dead_code, remove_unread_operators
from kgated.deploy.tflite.layer_table import LayerTable
from kgated.deploy.tflite.lstm_operator import C_STATE, H_STATE, SLOTS
from kgated.errors import ConversionError

OPS = schema.BuiltinOperator
# Where the kernel's inputs of activation functions would be; it reads the fifth alone here: the
# state before the projection, which lies within -1 and 1.
INTERMEDIATES = 5
HIDDEN_SCALE = 2.0**-7
GATES = "ifgo"


def write_integer(
    model: schema.ModelT,
    layers: LayerTable,
    ranges: Mapping[str, LstmRanges],
    skip: Collection[str] = (),
) -> None:
    """Write every fused LSTM of a statically quantized file in int8 with an int16 cell state.

    Args:
        model: the file after static int8 quantization of all other operators.
        layers: which layer each operator comes from.
        ranges: as from `fused_ranges` over the float file.
        skip: names of layers that stay float.

    Raises:
        ConversionError: an LSTM with layer normalization.
    """
    for subgraph in model.subgraphs:
        graph = Graph(model, subgraph, layers)
        for operator in graph.fused(skip):
            _refuse_normalized(graph, operator)
            _Integer(graph, operator, ranges[graph.name(operator)]).write()
        remove_unread_operators(subgraph)
    eliminate_dead_code(model)


class _Integer:
    """The conversion of one operator from float to integers."""

    def __init__(self, graph: Graph, operator: schema.OperatorT, ranges: LstmRanges) -> None:
        self.graph, self.operator, self.ranges = graph, operator, ranges

    def write(self) -> None:
        graph, inputs = self.graph, self.operator.inputs
        inputs[0] = self._input()
        self.operator.outputs = [self._output()]
        self._states()
        weights = dict.fromkeys((*MATRICES, PROJECTION), INT8) | dict.fromkeys(PEEPHOLES, INT16)
        for slot, kind in weights.items():
            if inputs[slot] >= 0:
                inputs[slot] = graph.symmetric(inputs[slot], kind)
        for gate in GATES:
            bias = SLOTS["bias", gate]
            if inputs[bias] >= 0:
                scale = graph.scale(inputs[0]) * graph.scale(inputs[SLOTS["input", gate]])
                inputs[bias] = graph.constant(inputs[bias], INT32, scale)

    def _input(self) -> int:
        """The int8 tensor that the operator's float input was made from, or a new one."""
        x = int(self.operator.inputs[0])
        for operator in self.graph.graph.operators:
            if x in operator.outputs and self.graph.code(operator) == OPS.DEQUANTIZE:
                return int(operator.inputs[0])
        quantized = self._quantized(x, self.ranges.x)
        self.graph.insert(self.operator, OPS.QUANTIZE, x, quantized)
        return quantized

    def _output(self) -> int:
        """The int8 tensor that the operator's float output was to become, or a new one."""
        y = int(self.operator.outputs[0])
        readers = [reader for reader in self.graph.graph.operators if y in reader.inputs]
        quantizing = [reader for reader in readers if self.graph.code(reader) == OPS.QUANTIZE]
        if quantizing:
            self.graph.graph.operators.remove(quantizing[0])
            quantized = int(quantizing[0].outputs[0])
        else:
            quantized = self._quantized(y, self.ranges.h)
        self.graph.insert(self.operator, OPS.DEQUANTIZE, quantized, y, after=True)
        return quantized

    def _states(self) -> None:
        """The state h like the output; c in int16 with a power of two as its scale."""
        graph, inputs = self.graph, self.operator.inputs
        h, c = graph.tensors[inputs[H_STATE]], graph.tensors[inputs[C_STATE]]
        h.type, h.quantization = INT8, graph.tensors[self.operator.outputs[0]].quantization
        largest = max(-self.ranges.c[0], self.ranges.c[1], 1.0)
        c.type, c.quantization = INT16, quantization(2.0 ** (math.ceil(math.log2(largest)) - 15))
        for operator in graph.graph.operators:
            zeroes = graph.code(operator) == OPS.ZEROS_LIKE
            if zeroes and operator.outputs[0] in inputs[[H_STATE, C_STATE]]:
                self._become_difference(operator)
        hidden = h.quantization if inputs[PROJECTION] < 0 else quantization(HIDDEN_SCALE)
        scales = [quantization(2.0**-12)] * (INTERMEDIATES - 1) + [hidden]
        self.operator.intermediates = [
            graph.add(  # of no size: they hold scales alone
                schema.TensorT(
                    name=f"{c.name.decode()}_{n}".encode(), shape=[0], type=kind, quantization=scale
                )
            )
            for n, (kind, scale) in enumerate(zip([INT16] * 4 + [INT8], scales, strict=True))
        ]

    def _become_difference(self, zeroing: schema.OperatorT) -> None:
        """A constant minus itself: zero in the state's scale, which may not be the integer 0."""
        state = self.graph.tensors[zeroing.outputs[0]]
        constant = schema.TensorT(
            name=state.name + b"_zero",
            shape=state.shape,
            type=state.type,
            quantization=state.quantization,
        )
        size = int(np.prod(state.shape)) * np.dtype(DTYPES[state.type]).itemsize
        index = self.graph.add(constant, bytes(size))
        zeroing.opcodeIndex = self.graph.add_code(OPS.SUB, 2)
        zeroing.inputs = [index, index]
        zeroing.builtinOptionsType = schema.BuiltinOptions.SubOptions
        zeroing.builtinOptions = schema.SubOptionsT(potScaleInt16=False)

    def _quantized(self, like: int, limits: tuple[float, float]) -> int:
        low, high = limits
        scale = max(high - low, 1e-6) / 255
        zero_point = int(np.clip(np.rint(-128 - low / scale), -128, 127))
        old = self.graph.tensors[like]
        tensor = schema.TensorT(name=old.name + b"_int8", shape=old.shape, type=INT8)
        tensor.shapeSignature = old.shapeSignature
        tensor.quantization = quantization(scale, zero_point)
        return self.graph.add(tensor)


def _refuse_normalized(graph: Graph, operator: schema.OperatorT) -> None:
    if operator.inputs[SLOTS["layer_norm", "f"]] >= 0:
        raise ConversionError(
            f"layer `{graph.layer(operator)}` has `layer_norm=True`, for which the fused operator "
            'has no int8 form here. Convert with `lowering="unrolled"` or `quantize="dynamic"`'
        )
