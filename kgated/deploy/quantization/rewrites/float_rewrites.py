"""Operators without a kernel for quantized numbers, written with operators that have one.

| table | operator | becomes |
|---|---|---|
| FOR_INTEGERS | NEG x | MUL x by -1 |
| | SQUARE x | MUL x by x |
| | RELU6, RELU_N1_TO_1 x | MUL x by 1, activation fused: the kernel clips its integers |
| | CAST of a mask | SELECT_V2 of 1 and 0 |
| | TILE of axes of size 1 | BROADCAST_TO, which TensorFlow Lite Micro has too |
| FOR_INT16 | SQUARED_DIFFERENCE | SUB, and MUL by itself |
| FOR_INTEGER_WEIGHTS | GATHER of rows of a matrix | EMBEDDING_LOOKUP, which takes 8 and 4 bits |
"""

from collections.abc import Callable, Mapping

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.float_file import FloatFile

_CODES, _OPTIONS, _TYPES = schema.BuiltinOperator, schema.BuiltinOptions, schema.TensorType
# Changes an operator, or puts others in its place; new tensors get the layer of its result.
Rewrite = Callable[[schema.ModelT, schema.SubGraphT, schema.OperatorT], None]


def rewrite_operators(file: FloatFile, rewrites: Mapping[str, Rewrite]) -> None:
    """Rewrite the float operators that one of the tables below names; the file is changed."""
    model = file.model
    for graph, operator in list(flatbuffer.operators(model)):
        rewrite = rewrites.get(flatbuffer.operator_name(model, operator))
        if rewrite is None or not _is_float(graph, operator):
            continue
        result, before = int(operator.outputs[0]), len(graph.tensors)
        rewrite(model, graph, operator)
        for tensor in range(before, len(graph.tensors)):
            file.layers.inherit(graph, tensor, result)
        file.changed()


def _negate(model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT) -> None:
    _multiply(model, operator, [operator.inputs[0], _scalar(model, graph, operator, -1.0)])


def _square(model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT) -> None:
    _multiply(model, operator, [operator.inputs[0], operator.inputs[0]])


def _clip(model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT) -> None:
    name = flatbuffer.operator_name(model, operator)
    activation = getattr(schema.ActivationFunctionType, name)
    _multiply(model, operator, [operator.inputs[0], _scalar(model, graph, operator, 1.0)])
    operator.builtinOptions.fusedActivationFunction = activation


def _select(model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT) -> None:
    mask = operator.inputs[0]
    if graph.tensors[mask].type != _TYPES.BOOL:
        return
    pairs = (("one", 1.0), ("zero", 0.0))
    ends = [_scalar(model, graph, operator, value, suffix) for suffix, value in pairs]
    operator.inputs = [mask, *ends]
    operator.opcodeIndex = flatbuffer.code_index(model, _CODES.SELECT_V2)
    operator.builtinOptionsType = _OPTIONS.SelectV2Options
    operator.builtinOptions = schema.SelectV2OptionsT()


def _broadcast(model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT) -> None:
    source, result = operator.inputs[0], operator.outputs[0]
    shapes = [[int(n) for n in graph.tensors[n].shape] for n in (source, result)]
    if any(old not in (1, new) for old, new in zip(*shapes, strict=True)):
        return
    values = np.array(shapes[1], np.int32)
    shape = flatbuffer.add_constant(model, graph, result, "shape", values)
    operator.inputs = [source, shape]
    code = flatbuffer.code_index(model, _CODES.BROADCAST_TO)
    model.operatorCodes[code].version = 2  # there is no first one
    operator.opcodeIndex = code
    operator.builtinOptionsType = _OPTIONS.BroadcastToOptions
    operator.builtinOptions = schema.BroadcastToOptionsT()


def _subtract_and_square(
    model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT
) -> None:
    result = operator.outputs[0]
    like = graph.tensors[result]
    difference = flatbuffer.add_tensor(graph, result, "difference", tuple(like.shape), like.type)
    subtract = schema.OperatorT(
        opcodeIndex=flatbuffer.code_index(model, _CODES.SUB),
        inputs=operator.inputs,
        outputs=[difference],
        builtinOptionsType=_OPTIONS.SubOptions,
        builtinOptions=schema.SubOptionsT(),
    )
    graph.operators.insert(graph.operators.index(operator), subtract)
    _multiply(model, operator, [difference, difference])


def _look_up_rows(
    model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT
) -> None:
    """Flatten the tokens, look them up, and give the rows the shape that GATHER gave them."""
    if not _takes_rows(model, graph, operator):
        return
    table, tokens = operator.inputs
    (result,) = operator.outputs
    count = int(np.prod(graph.tensors[tokens].shape))
    flat = flatbuffer.add_tensor(graph, result, "tokens", (count,), _TYPES.INT32)
    width = int(graph.tensors[table].shape[1])
    rows = flatbuffer.add_tensor(graph, result, "rows", (count, width), _TYPES.FLOAT32)
    lookup = schema.OperatorT(
        opcodeIndex=flatbuffer.code_index(model, _CODES.EMBEDDING_LOOKUP),
        inputs=[flat, table],
        outputs=[rows],
    )
    place = graph.operators.index(operator)
    graph.operators[place : place + 1] = [
        flatbuffer.reshape(model, graph, tokens, flat),
        lookup,
        flatbuffer.reshape(model, graph, rows, result),
    ]


def _takes_rows(model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT) -> bool:
    table, tokens = (graph.tensors[n] for n in operator.inputs)
    options = operator.builtinOptions
    along_rows = options is None or not (options.axis or options.batchDims)
    is_matrix = flatbuffer.is_constant(model, table) and len(table.shape) == 2
    return along_rows and is_matrix and bool(tokens.type == _TYPES.INT32)


def _multiply(model: schema.ModelT, operator: schema.OperatorT, inputs: list[int]) -> None:
    operator.inputs = inputs
    operator.opcodeIndex = flatbuffer.code_index(model, _CODES.MUL)
    operator.builtinOptionsType = _OPTIONS.MulOptions
    operator.builtinOptions = schema.MulOptionsT()


def _scalar(
    model: schema.ModelT,
    graph: schema.SubGraphT,
    operator: schema.OperatorT,
    value: float,
    suffix: str = "factor",
) -> int:
    values = np.array([value], np.float32)
    return flatbuffer.add_constant(model, graph, operator.outputs[0], suffix, values)


def _is_float(graph: schema.SubGraphT, operator: schema.OperatorT) -> bool:
    if operator.outputs is None or len(operator.outputs) == 0:
        return False
    return bool(graph.tensors[operator.outputs[0]].type == _TYPES.FLOAT32)


FOR_INTEGERS: Mapping[str, Rewrite] = {
    "NEG": _negate,
    "SQUARE": _square,
    "RELU6": _clip,
    "RELU_N1_TO_1": _clip,
    "CAST": _select,
    "TILE": _broadcast,
}
FOR_INT16: Mapping[str, Rewrite] = {"SQUARED_DIFFERENCE": _subtract_and_square}
FOR_INTEGER_WEIGHTS: Mapping[str, Rewrite] = {"GATHER": _look_up_rows}
