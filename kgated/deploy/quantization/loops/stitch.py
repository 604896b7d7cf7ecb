"""Stitches parts that were quantized separately into one file."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.quantization.loops.loop_check import check_loop_operands
from kgated.deploy.quantization.loops.partition import FLOAT32, Body, Loop, Partition
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.cleanup import eliminate_dead_code
from kgated.deploy.tflite.flatbuffer import main_graph

CODES = schema.BuiltinOperator


def stitch_parts(
    source: schema.ModelT,
    parts: Partition,
    main: schema.ModelT,
    bodies: dict[int, schema.ModelT],
) -> schema.ModelT:
    """The whole file again.

    Args:
        source: the float file.
        parts: what it was cut into.
        main: the part without loops, quantized; the loops are added to it.
        bodies: those of the loops, quantized, by their index in the float file.
    """
    stitching = _Stitching(source, parts, main)
    for loop in parts.loops:
        stitching.add_loop(loop, bodies[loop.body])
    graph = main_graph(main)
    graph.operators = _in_order(graph)
    eliminate_dead_code(main)
    check_loop_operands(main)
    return main


class _Stitching:
    """The main graph, to which loops are added.

    Tensors of the float file are known by their index there, `n`.
    """

    def __init__(self, source: schema.ModelT, parts: Partition, main: schema.ModelT) -> None:
        self.source, self.parts = source, parts
        self.target = _Target(main)
        self.graph = main_graph(main)
        ends = _signature_tensors(main)
        cut = {**parts.to_loops, **parts.from_loops}
        self.tensors = {n: ends[name] for n, name in cut.items()}  # index here by n
        _remove_entries(main, self.graph, set(cut.values()))
        before, after = main_graph(source).inputs, self.graph.inputs
        self.tensors |= {int(n): int(index) for n, index in zip(before, after, strict=True)}
        self.loop_outputs: dict[int, int] = {}  # the same for what a loop writes
        self.bodies: dict[int, int] = {}  # index of a subgraph here by its index in the float file
        self.conditions: dict[int, int] = {}

    def add_loop(self, loop: Loop, body: schema.ModelT) -> None:
        """Add a WHILE as the float file has it."""
        index = self._body(loop, body)
        inner = self.target.model.subgraphs[index]
        operands = [inner.tensors[n] for n in inner.inputs]
        inputs = [self._input(n, like) for n, like in zip(loop.inputs, operands, strict=True)]
        outputs = [self._output(n, like) for n, like in zip(loop.outputs, operands, strict=True)]
        self.graph.operators.append(
            schema.OperatorT(
                opcodeIndex=flatbuffer.code_index(self.target.model, CODES.WHILE),
                inputs=inputs,
                outputs=outputs,
                builtinOptionsType=schema.BuiltinOptions.WhileOptions,
                builtinOptions=schema.WhileOptionsT(
                    condSubgraphIndex=self._condition(loop, operands), bodySubgraphIndex=index
                ),
            )
        )
        self.loop_outputs |= dict(zip(loop.outputs, outputs, strict=True))

    def _input(self, n: int, operand: schema.TensorT) -> int:
        """Tensor n of the float file as the loop takes it."""
        source = self.loop_outputs.get(n, self.tensors.get(n))
        if source is None:
            return self._constant(n, operand)
        if _same_numbers(self.graph.tensors[source], operand):
            return source
        target = self._add_like(operand, "given")
        self._convert(source, target)
        return target

    def _output(self, n: int, operand: schema.TensorT) -> int:
        """The tensor that the loop writes for tensor n of the float file."""
        target = self.tensors.get(n)
        if target is not None and _same_numbers(self.graph.tensors[target], operand):
            return target
        written = self._add_like(operand, "made")
        if target is not None:  # the main graph reads it in integers of its own
            self._convert(written, target)
        return written

    def _constant(self, n: int, operand: schema.TensorT) -> int:
        tensor = main_graph(self.source).tensors[n]
        data = self.source.buffers[tensor.buffer].data
        if operand.type != tensor.type:
            data = _quantize_constant(data, operand)
        index = self._add_like(operand, "start")
        self.graph.tensors[index].buffer = flatbuffer.add_buffer(self.target.model, bytes(data))
        return index

    def _add_like(self, operand: schema.TensorT, suffix: str) -> int:
        """Add a tensor of the type of a loop's operand."""
        tensor = copy.copy(operand)
        tensor.buffer, tensor.name = 0, f"{flatbuffer.tensor_name(operand)}_{suffix}".encode()
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def _convert(self, source: int, target: int) -> None:
        """Write one tensor from another: other integers, or from float or to it."""
        to_float = self.graph.tensors[target].type == FLOAT32
        code = CODES.DEQUANTIZE if to_float else CODES.QUANTIZE
        self.graph.operators.append(
            schema.OperatorT(
                opcodeIndex=flatbuffer.code_index(self.target.model, code),
                inputs=[source],
                outputs=[target],
            )
        )

    def _body(self, loop: Loop, body: schema.ModelT) -> int:
        if loop.body not in self.bodies:
            graph = _loop_body(self.parts.bodies[loop.body], body)
            self.bodies[loop.body] = self.target.add(body, graph)
        return self.bodies[loop.body]

    def _condition(self, loop: Loop, operands: list[schema.TensorT]) -> int:
        if loop.condition not in self.conditions:
            graph = copy.deepcopy(self.source.subgraphs[loop.condition])
            for n, operand in zip(graph.inputs, operands, strict=True):
                _set_numbers(graph.tensors[n], operand)
            self.conditions[loop.condition] = self.target.add(self.source, graph)
        return self.conditions[loop.condition]


class _Target:
    """The file that takes in subgraphs of other files."""

    def __init__(self, model: schema.ModelT) -> None:
        self.model = model

    def add(self, source: schema.ModelT, graph: schema.SubGraphT) -> int:
        """Take in a subgraph with its operators' codes and its constants; returns its index."""
        for operator in graph.operators:
            operator.opcodeIndex = self._code(source.operatorCodes[operator.opcodeIndex])
        for tensor in graph.tensors:
            tensor.buffer = self._buffer(source.buffers[tensor.buffer])
        self.model.subgraphs.append(graph)
        return len(self.model.subgraphs) - 1

    def _code(self, code: schema.OperatorCodeT) -> int:
        return _index(self.model.operatorCodes, code, vars)

    def _buffer(self, buffer: schema.BufferT) -> int:
        return 0 if not _data(buffer) else _index(self.model.buffers, buffer, _data)


def _signature_tensors(model: schema.ModelT) -> dict[str, int]:
    """The tensor of each input and output of the main signature."""
    main = flatbuffer.main_signature(model)
    return {entry.name.decode(): entry.tensorIndex for entry in (*main.inputs, *main.outputs)}


def _remove_entries(model: schema.ModelT, graph: schema.SubGraphT, names: set[str]) -> None:
    """Remove inputs and outputs of the main signature, and of the graph that it runs."""
    main = flatbuffer.main_signature(model)
    for side in ("inputs", "outputs"):
        remaining = [e for e in getattr(main, side) if e.name.decode() not in names]
        setattr(main, side, remaining)
        setattr(graph, side, np.array([e.tensorIndex for e in remaining], np.int32))


def _loop_body(body: Body, model: schema.ModelT) -> schema.SubGraphT:
    """The quantized body's subgraph, with an input and an output for each operand."""
    graph, ends = main_graph(model), _signature_tensors(model)
    inputs = {k: ends[name] for k, name in body.inputs.items()}
    outputs = inputs | {k: ends[name] for k, name in body.outputs.items()}
    graph.inputs = np.array(list(inputs.values()), np.int32)
    graph.outputs = np.array([outputs[k] for k in inputs], np.int32)
    read = {int(n) for operator in graph.operators for n in operator.inputs}
    for before, after in zip(graph.inputs, graph.outputs, strict=True):
        if before not in read:  # as the last iteration's output, which is written anew
            _set_numbers(graph.tensors[before], graph.tensors[after])
    return graph


def _quantize_constant(data: Any, like: schema.TensorT) -> np.ndarray:
    """The bytes of float numbers in the integers of a tensor."""
    dtype = np.dtype(flatbuffer.type_name(like))
    scale, zero_point = flatbuffer.scale_and_zero_point(like) or (1.0, 0)
    values = np.rint(np.frombuffer(bytes(data), np.float32) / scale) + zero_point
    limits = np.iinfo(dtype)
    return np.clip(values, limits.min, limits.max).astype(dtype).view(np.uint8)


def _data(buffer: schema.BufferT) -> bytes:
    return b"" if buffer.data is None else bytes(buffer.data)


def _index(items: list[Any], item: Any, content: Callable[[Any], Any]) -> int:
    """Where something equal is in a list, to which it is added where there is none."""
    wanted = content(item)
    for index, candidate in enumerate(items):
        if content(candidate) == wanted:
            return index
    items.append(item)
    return len(items) - 1


def _set_numbers(tensor: schema.TensorT, like: schema.TensorT) -> None:
    tensor.type, tensor.quantization = like.type, like.quantization


def _same_numbers(a: schema.TensorT, b: schema.TensorT) -> bool:
    scale = flatbuffer.scale_and_zero_point
    return (a.type, scale(a)) == (b.type, scale(b))


def _in_order(graph: schema.SubGraphT) -> list[schema.OperatorT]:
    """The operators, each after those whose results it reads; else in the order they are in."""
    written = {int(n) for operator in graph.operators for n in operator.outputs}
    waiting, done, ordered = list(graph.operators), set[int](), []
    while waiting:
        ready = next(
            o for o in waiting if all(int(n) in done or int(n) not in written for n in o.inputs)
        )
        waiting.remove(ready)
        ordered.append(ready)
        done |= set(map(int, ready.outputs))
    return ordered
