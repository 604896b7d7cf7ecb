"""Integer kernels for operators that the quantizer leaves in float.

The quantizer knows some thirty operators; it computes every other one in float, between a
DEQUANTIZE and a QUANTIZE. LiteRT has integer kernels for many of those. This pass gives such an
operator integer tensors: the scales that the quantizer chose around it, or those of the calibrated
ranges where nothing stands there.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.quantization.ranges.calibration import Ranges
from kgated.deploy.quantization.rewrites.integer_kernels import (
    INTEGER,
    KERNELS,
    LOOKUP,
    PLACES,
    IntegerKernel,
    Params,
)
from kgated.deploy.quantization.rewrites.masked_means import MaskedMean, write_masked_mean
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.cleanup import eliminate_dead_code, remove_unread_operators
from kgated.deploy.tflite.layer_table import LayerTable, scopes

QUANTIZE, DEQUANTIZE = "QUANTIZE", "DEQUANTIZE"
FLOAT32 = schema.TensorType.FLOAT32


def use_integer_kernels(
    model: schema.ModelT,
    layers: LayerTable,
    ranges: Ranges,
    bits: int,
    skip: Collection[str] = (),
    functions: Mapping[str, Callable[[np.ndarray], np.ndarray]] | None = None,
    means: Mapping[str, MaskedMean] | None = None,
) -> None:
    """Replace float operators that the quantizer left by LiteRT's integer kernels.

    Args:
        model: a quantized file; changed.
        layers: which layer each operator comes from.
        ranges: by tensor name.
        bits: of an activation, 8 or 16.
        skip: layers that stay in float.
        functions: of the placeholders of `collapse_activations`, by name of the result.
        means: of those of `collapse_masked_means`, likewise.
    """
    skipped = scopes(skip)
    for subgraph in model.subgraphs:
        rewriter = _Rewriter(model, subgraph, layers, ranges, bits, functions or {}, means or {})
        for operator in list(subgraph.operators):
            if layers.layer(subgraph, operator) not in skipped:
                rewriter.visit(operator)
        remove_unread_operators(subgraph)
    eliminate_dead_code(model)


@dataclass
class _Rewriter:
    """Gives the float operators of one subgraph integer tensors, in the order of the graph."""

    model: schema.ModelT
    graph: schema.SubGraphT
    layers: LayerTable
    ranges: Ranges
    bits: int
    functions: Mapping[str, Callable[[np.ndarray], np.ndarray]]
    means: Mapping[str, MaskedMean]
    _integers: dict[int, int] = field(default_factory=dict)  # float tensor -> its integers

    def visit(self, operator: schema.OperatorT) -> None:
        """Rewrite the operator where it computes in float and has an integer kernel."""
        name = flatbuffer.operator_name(self.model, operator)
        if name == DEQUANTIZE:
            self._integers[operator.outputs[0]] = operator.inputs[0]
        if name in PLACES and self._is_float(operator.inputs[0]):
            self._find_place(operator)
            return
        key = self._name(operator.outputs[0])
        if key in self.means and self._in_float(operator):
            self._write_masked_mean(operator, self.means[key])
            return
        function = self.functions.get(key)
        kernel = KERNELS.get(name) if function is None else LOOKUP
        if kernel is None or self.bits not in kernel.bits or not self._in_float(operator):
            return
        inputs = [n for n in operator.inputs if self._is_float(n) and not self._is_constant(n)]
        if not all(self._has_range(n) for n in (*inputs, operator.outputs[0])):
            return
        result = int(operator.outputs[0])
        self._rewrite(operator, kernel)
        if function is not None:
            self._look_up(operator, function)
        self._read_integers(operator, result, int(operator.outputs[0]))

    def _find_place(self, operator: schema.OperatorT) -> None:
        """Compare integers in place of floats; those of 16 bits as int32."""
        n = int(operator.inputs[0])
        if self._is_constant(n) or not self._has_range(n):
            return
        source = self._source(operator, n)
        if self.bits == 16:
            shape = tuple(int(size) for size in self.graph.tensors[source].shape)
            int32 = schema.TensorType.INT32
            integers = flatbuffer.add_tensor(self.graph, source, "int32", shape, int32)
            self.layers.inherit(self.graph, integers, int(operator.outputs[0]))
            options = schema.CastOptionsT(inDataType=INTEGER[16], outDataType=int32)
            self._insert(operator, "CAST", [source], integers, options)
            source = integers
        operator.inputs = [source, *operator.inputs[1:]]

    def _write_masked_mean(self, operator: schema.OperatorT, mean: MaskedMean) -> None:
        result = int(operator.outputs[0])
        source, target = self._source(operator, operator.inputs[0]), self._target(result, LOOKUP)
        ends = (source, target)
        write_masked_mean(self.model, self.graph, self.layers, operator, mean, ends)
        self.layers.inherit(self.graph, target, result)
        self._integers[result] = target
        self._read_integers(operator, result, target)

    def _look_up(self, operator: schema.OperatorT, function: Callable[..., np.ndarray]) -> None:
        """The result from a table with an entry for each integer of the operand."""
        (source,), (target,) = operator.inputs, operator.outputs
        low = -(2 ** (self.bits - 1))
        integers = np.arange(low, -low, dtype=np.int64)
        operand, result = self._params(source), self._params(target)
        x = ((integers - operand.zero_point) * operand.scale).astype(np.float32)
        table = self._stored(target, "table", result.quantize(function(x), self.bits), result)
        shift = self._stored(target, "shift", np.array([-low], np.int32), None)
        shape = tuple(int(n) for n in self.graph.tensors[source].shape)
        cast_values, index = (
            flatbuffer.add_tensor(self.graph, target, name, shape, schema.TensorType.INT32)
            for name in ("wide", "index")
        )
        cast = schema.CastOptionsT(
            inDataType=INTEGER[self.bits], outDataType=schema.TensorType.INT32
        )
        self._insert(operator, "CAST", [source], cast_values, cast)
        self._insert(operator, "ADD", [cast_values, shift], index, schema.AddOptionsT())
        for tensor in (cast_values, index):
            self.layers.inherit(self.graph, tensor, target)
        operator.opcodeIndex = flatbuffer.code_index(self.model, schema.BuiltinOperator.GATHER)
        operator.inputs = [table, index]
        operator.builtinOptionsType = schema.BuiltinOptions.GatherOptions
        operator.builtinOptions = schema.GatherOptionsT()

    def _rewrite(self, operator: schema.OperatorT, kernel: IntegerKernel) -> None:
        result = operator.outputs[0]
        target = self._target(result, kernel)
        params = self._params(target)
        inputs = [self._operand(operator, n, params, kernel) for n in operator.inputs]
        operator.inputs, operator.outputs = inputs, [target, *operator.outputs[1:]]
        self.layers.inherit(self.graph, target, result)
        self._integers[result] = target

    def _target(self, result: int, kernel: IntegerKernel) -> int:
        """The integer tensor of the result: the one it is quantized into, or a new one."""
        if kernel.output is not None and self.bits == 8:
            return self._new(result, "integers", Params(*kernel.output))
        for reader in self.graph.operators:
            if flatbuffer.operator_name(self.model, reader) == QUANTIZE and result in reader.inputs:
                target = int(reader.outputs[0])
                self.graph.operators.remove(reader)
                return target
        return self._new(result, "integers", self._range_params(result))

    def _operand(
        self, operator: schema.OperatorT, n: int, result: Params, kernel: IntegerKernel
    ) -> int:
        """The integer tensor of an operand, of the result's scale where the kernel wants it."""
        if n < 0 or not self._is_float(n):
            return n
        if self._is_constant(n):
            bits = kernel.constant_bits or self.bits
            return self._constant(n, bits, result if kernel.same_scale else None)
        source = self._source(operator, n)
        if not kernel.same_scale or self._params(source) == result:
            return source
        return self._requantized(operator, source, result)

    def _source(self, operator: schema.OperatorT, n: int) -> int:
        """The integers that a float tensor was made of; an input of the graph becomes integer."""
        if n not in self._integers:
            params = self._range_params(n)
            if n in self.graph.inputs:
                self._make_integer(n, params)
            else:
                self._integers[n] = self._requantized(operator, n, params)
        return self._integers.get(n, n)

    def _requantized(self, before: schema.OperatorT, source: int, params: Params) -> int:
        """The tensor in other integers, by a QUANTIZE before an operator."""
        target = self._new(source, "requantized", params)
        self._insert(before, "QUANTIZE", [source], target)
        return target

    def _constant(self, n: int, bits: int, params: Params | None) -> int:
        """A constant as integers; symmetric in its own range where no scale is asked for."""
        tensor = self.graph.tensors[n]
        values = np.frombuffer(bytes(self.model.buffers[tensor.buffer].data), np.float32)
        largest = float(np.abs(values).max(initial=1e-9))
        params = params or Params(largest / (2 ** (bits - 1) - 1), 0)
        integers = params.quantize(values, bits).reshape(tensor.shape)
        return self._stored(n, "constant", integers, params)

    def _stored(self, like: int, suffix: str, values: np.ndarray, params: Params | None) -> int:
        """A constant tensor of integers."""
        n = flatbuffer.add_constant(self.model, self.graph, like, suffix, values)
        self.graph.tensors[n].quantization = None if params is None else params.stored()
        return n

    def _read_integers(self, operator: schema.OperatorT, result: int, target: int) -> None:
        """Let those who read the float result read the integers, or them dequantized."""
        signed = [m for s in self.model.signatureDefs or [] for m in s.outputs]
        if result in self.graph.outputs:
            self.graph.outputs = [target if n == result else n for n in self.graph.outputs]
            for entry in signed:
                entry.tensorIndex = target if entry.tensorIndex == result else entry.tensorIndex
        if any(result in reader.inputs for reader in self.graph.operators):
            code = flatbuffer.code_index(self.model, schema.BuiltinOperator.DEQUANTIZE)
            place = self.graph.operators.index(operator) + 1
            dequantize = schema.OperatorT(opcodeIndex=code, inputs=[target], outputs=[result])
            self.graph.operators.insert(place, dequantize)

    def _insert(
        self,
        before: schema.OperatorT,
        name: str,
        inputs: list[int],
        target: int,
        options: Any = None,
    ) -> None:
        code = flatbuffer.code_index(self.model, getattr(schema.BuiltinOperator, name))
        operator = schema.OperatorT(opcodeIndex=code, inputs=inputs, outputs=[target])
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            operator.builtinOptions = options
        self.graph.operators.insert(self.graph.operators.index(before), operator)

    def _new(self, like: int, suffix: str, params: Params) -> int:
        shape = tuple(int(n) for n in self.graph.tensors[like].shape)
        index = flatbuffer.add_tensor(self.graph, like, suffix, shape, INTEGER[self.bits])
        self.graph.tensors[index].quantization = params.stored()
        return index

    def _make_integer(self, n: int, params: Params) -> None:
        tensor = self.graph.tensors[n]
        tensor.type, tensor.quantization = INTEGER[self.bits], params.stored()

    def _name(self, n: int) -> str:
        return flatbuffer.tensor_name(self.graph.tensors[n])

    def _in_float(self, operator: schema.OperatorT) -> bool:
        return self._is_float(operator.outputs[0])

    def _is_float(self, n: int) -> bool:
        return n >= 0 and bool(self.graph.tensors[n].type == FLOAT32)

    def _is_constant(self, n: int) -> bool:
        return flatbuffer.is_constant(self.model, self.graph.tensors[n])

    def _has_range(self, n: int) -> bool:
        return n in self._integers or flatbuffer.tensor_name(self.graph.tensors[n]) in self.ranges

    def _range_params(self, n: int) -> Params:
        limits = self.ranges[flatbuffer.tensor_name(self.graph.tensors[n])]
        low, high = (float(np.asarray(limits[end]).ravel()[0]) for end in ("min", "max"))
        return Params.of_range(low, high, self.bits)

    def _params(self, n: int) -> Params:
        stored = flatbuffer.scale_and_zero_point(self.graph.tensors[n])
        assert stored is not None, "an integer tensor has a scale"
        return Params(*stored)
