"""Float operators without an integer kernel, written with operators that have one.

| operator | becomes |
|---|---|
| NEG x | MUL x by -1 |
| SQUARE x | MUL x by x |
| RELU6, RELU_N1_TO_1 x | MUL x by 1 with the activation fused: the kernel clips its integers |
| TILE of axes of size 1 | BROADCAST_TO, which TensorFlow Lite Micro has too |
"""

from collections.abc import Callable, Mapping

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.float_file import FloatFile

_MUL = schema.BuiltinOperator.MUL
_ACTIVATIONS = schema.ActivationFunctionType


def rewrite_for_integers(file: FloatFile) -> None:
    """Rewrite the operators of the table above; the file is changed."""
    model = file.model
    for graph in model.subgraphs:
        for operator in list(graph.operators):
            rewrite = _REWRITES.get(flatbuffer.operator_name(model, operator))
            if rewrite is not None and _is_float(graph, operator):
                rewrite(model, graph, operator)
                file.changed()


def _negate(model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT) -> None:
    _multiply(model, operator, [operator.inputs[0], _scalar(model, graph, operator, -1.0)])


def _square(model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT) -> None:
    _multiply(model, operator, [operator.inputs[0], operator.inputs[0]])


def _clip(model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT) -> None:
    name = flatbuffer.operator_name(model, operator)
    activation = getattr(_ACTIVATIONS, name)
    _multiply(model, operator, [operator.inputs[0], _scalar(model, graph, operator, 1.0)])
    operator.builtinOptions.fusedActivationFunction = activation


def _broadcast(model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT) -> None:
    source, result = operator.inputs[0], operator.outputs[0]
    shapes = [[int(n) for n in graph.tensors[n].shape] for n in (source, result)]
    if any(old not in (1, new) for old, new in zip(*shapes, strict=True)):
        return
    model.buffers.append(schema.BufferT(data=np.array(shapes[1], np.int32).view(np.uint8)))
    int32, buffer = schema.TensorType.INT32, len(model.buffers) - 1
    shape = flatbuffer.add_tensor(graph, result, "shape", (len(shapes[1]),), int32, buffer)
    operator.inputs = [source, shape]
    code = flatbuffer.code_index(model, schema.BuiltinOperator.BROADCAST_TO)
    model.operatorCodes[code].version = 2  # there is no first one
    operator.opcodeIndex = code
    operator.builtinOptionsType = schema.BuiltinOptions.BroadcastToOptions
    operator.builtinOptions = schema.BroadcastToOptionsT()


def _multiply(model: schema.ModelT, operator: schema.OperatorT, inputs: list[int]) -> None:
    operator.inputs = inputs
    operator.opcodeIndex = flatbuffer.code_index(model, _MUL)
    operator.builtinOptionsType = schema.BuiltinOptions.MulOptions
    operator.builtinOptions = schema.MulOptionsT()


def _scalar(
    model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT, value: float
) -> int:
    model.buffers.append(schema.BufferT(data=np.array([value], np.float32).view(np.uint8)))
    like, buffer = operator.outputs[0], len(model.buffers) - 1
    return flatbuffer.add_tensor(graph, like, "factor", (1,), schema.TensorType.FLOAT32, buffer)


def _is_float(graph: schema.SubGraphT, operator: schema.OperatorT) -> bool:
    return bool(graph.tensors[operator.outputs[0]].type == schema.TensorType.FLOAT32)


_Rewrite = Callable[[schema.ModelT, schema.SubGraphT, schema.OperatorT], None]
_REWRITES: Mapping[str, _Rewrite] = {
    "NEG": _negate,
    "SQUARE": _square,
    "RELU6": _clip,
    "RELU_N1_TO_1": _clip,
    "TILE": _broadcast,
}
