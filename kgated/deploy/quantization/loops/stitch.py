"""One file of pieces that were quantized each by itself."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.quantization.loops.partition import FLOAT32, Loop, Pieces, main_graph
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.cleanup import drop_unused

CODES = schema.BuiltinOperator


def put_together(tflite: bytes, pieces: Pieces, main: bytes, bodies: dict[int, bytes]) -> bytes:
    """The whole file again.

    Args:
        tflite: the float file.
        pieces: what it was cut into.
        main: the piece without loops, quantized.
        bodies: those of the loops, quantized, by their place in the float file.
    """
    whole = _Whole(flatbuffer.parse(tflite), flatbuffer.parse(main))
    for loop in pieces.loops:
        whole.add_loop(loop, bodies[loop.body])
    return whole.written(len(tflite))


class _Whole:
    """The main graph, to which loops are added."""

    def __init__(self, source: schema.ModelT, model: schema.ModelT) -> None:
        self.source, self.model = source, model
        self.graph = main_graph(model)
        signature = flatbuffer.main_signature(model)
        named = {e.name.decode(): e.tensorIndex for e in (*signature.inputs, *signature.outputs)}
        # From a tensor's place in the float file to its place here, as far as loops are concerned.
        self.place = {int(n.split("_")[1]): t for n, t in named.items() if _is_cut(n)}
        for side in ("inputs", "outputs"):
            kept = [e for e in getattr(signature, side) if not _is_cut(e.name.decode())]
            setattr(signature, side, kept)
            setattr(self.graph, side, np.array([e.tensorIndex for e in kept], np.int32))
        theirs, ours = main_graph(source).inputs, self.graph.inputs
        self.place |= {int(a): int(b) for a, b in zip(theirs, ours, strict=True)}
        self.made: dict[int, int] = {}  # the same for what a loop wrote
        self.subgraphs: dict[int, int] = {}

    def add_loop(self, loop: Loop, body: bytes) -> None:
        """Put a WHILE where the float file has it."""
        index = self.subgraphs.get(loop.body)
        if index is None:
            index = self.subgraphs[loop.body] = self._add_body(loop, body)
        inner = self.model.subgraphs[index]
        ends = [inner.tensors[n] for n in inner.inputs]
        inputs = [self._given(n, end) for n, end in zip(loop.inputs, ends, strict=True)]
        outputs = [self._result(n, end) for n, end in zip(loop.outputs, ends, strict=True)]
        self.graph.operators.append(
            schema.OperatorT(
                opcodeIndex=flatbuffer.code_index(self.model, CODES.WHILE),
                inputs=inputs,
                outputs=outputs,
                builtinOptionsType=schema.BuiltinOptions.WhileOptions,
                builtinOptions=schema.WhileOptionsT(
                    condSubgraphIndex=self._condition(loop, ends), bodySubgraphIndex=index
                ),
            )
        )
        self.made |= dict(zip(loop.outputs, outputs, strict=True))

    def written(self, size: int) -> bytes:
        """The file."""
        self.graph.operators = _in_order(self.graph)
        drop_unused(self.model)
        return flatbuffer.pack(self.model, size)

    def _given(self, n: int, end: schema.TensorT) -> int:
        """Tensor n of the float file as the loop takes it."""
        source = self.made.get(n, self.place.get(n))
        if source is None:
            return self._constant(n, end)
        if _same(self.graph.tensors[source], end):
            return source
        target = self._like(end, "given")
        self._convert(source, target)
        return target

    def _result(self, n: int, end: schema.TensorT) -> int:
        """What the loop writes for tensor n of the float file."""
        target = self.place.get(n)
        if target is not None and _same(self.graph.tensors[target], end):
            return target
        made = self._like(end, "made")
        if target is not None:  # the main graph reads it in integers of its own
            self._convert(made, target)
        return made

    def _constant(self, n: int, end: schema.TensorT) -> int:
        tensor = main_graph(self.source).tensors[n]
        data = self.source.buffers[tensor.buffer].data
        if end.type != tensor.type:
            kind = np.dtype(flatbuffer.type_name(end))
            scale, zero = flatbuffer.scale_and_zero_point(end) or (1.0, 0)
            values = np.rint(np.frombuffer(bytes(data), np.float32) / scale) + zero
            limits = np.iinfo(kind)
            data = np.clip(values, limits.min, limits.max).astype(kind).view(np.uint8)
        place = self._like(end, "start")
        self.model.buffers.append(schema.BufferT(data=np.frombuffer(bytes(data), np.uint8)))
        self.graph.tensors[place].buffer = len(self.model.buffers) - 1
        return place

    def _like(self, end: schema.TensorT, suffix: str) -> int:
        """A new tensor of the type of a loop's operand."""
        tensor = copy.copy(end)
        tensor.buffer, tensor.name = 0, f"{flatbuffer.tensor_name(end)}_{suffix}".encode()
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def _convert(self, source: int, target: int) -> None:
        """Write one tensor from the other: other integers, or from float or to it."""
        to_float = self.graph.tensors[target].type == FLOAT32
        code = CODES.DEQUANTIZE if to_float else CODES.QUANTIZE
        self.graph.operators.append(
            schema.OperatorT(
                opcodeIndex=flatbuffer.code_index(self.model, code),
                inputs=[source],
                outputs=[target],
            )
        )

    def _add_body(self, loop: Loop, body: bytes) -> int:
        found = flatbuffer.parse(body)
        signature, graph = flatbuffer.main_signature(found), main_graph(found)
        named = {e.name.decode(): e.tensorIndex for e in (*signature.inputs, *signature.outputs)}
        operands = range(len(loop.inputs))
        graph.inputs = np.array([named[f"in_{k}"] for k in operands], np.int32)
        same = dict(enumerate(graph.inputs))
        graph.outputs = np.array([named.get(f"out_{k}", same[k]) for k in operands], np.int32)
        read = {int(n) for operator in graph.operators for n in operator.inputs}
        for before, after in zip(graph.inputs, graph.outputs, strict=True):
            if before not in read:  # as the last turn's output, which is written anew
                _become(graph.tensors[before], graph.tensors[after])
        return self._add(found, graph)

    def _condition(self, loop: Loop, ends: list[schema.TensorT]) -> int:
        if -1 - loop.condition not in self.subgraphs:
            graph = copy.deepcopy(self.source.subgraphs[loop.condition])
            for n, end in zip(graph.inputs, ends, strict=True):
                _become(graph.tensors[n], end)
            self.subgraphs[-1 - loop.condition] = self._add(self.source, graph)
        return self.subgraphs[-1 - loop.condition]

    def _add(self, model: schema.ModelT, graph: schema.SubGraphT) -> int:
        """Take in a subgraph of another file, with its operators' codes and its constants."""
        for operator in graph.operators:
            operator.opcodeIndex = self._code(model.operatorCodes[operator.opcodeIndex])
        for tensor in graph.tensors:
            tensor.buffer = self._buffer(model.buffers[tensor.buffer])
        self.model.subgraphs.append(graph)
        return len(self.model.subgraphs) - 1

    def _code(self, code: schema.OperatorCodeT) -> int:
        return _index(self.model.operatorCodes, code, vars)

    def _buffer(self, buffer: schema.BufferT) -> int:
        return 0 if not _data(buffer) else _index(self.model.buffers, buffer, _data)


def _data(buffer: schema.BufferT) -> bytes:
    return b"" if buffer.data is None else bytes(buffer.data)


def _index(items: list[Any], item: Any, content: Callable[[Any], Any]) -> int:
    """Where something equal stands in a list, to which it is added where there is none."""
    wanted = content(item)
    for index, one in enumerate(items):
        if content(one) == wanted:
            return index
    items.append(item)
    return len(items) - 1


def _is_cut(name: str) -> bool:
    return name.startswith(("to_", "from_"))


def _become(tensor: schema.TensorT, like: schema.TensorT) -> None:
    tensor.type, tensor.quantization = like.type, like.quantization


def _same(one: schema.TensorT, other: schema.TensorT) -> bool:
    scale = flatbuffer.scale_and_zero_point
    return (one.type, scale(one)) == (other.type, scale(other))


def _in_order(graph: schema.SubGraphT) -> list[schema.OperatorT]:
    """The operators, each after those that it takes from; as they stand, where that allows."""
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
