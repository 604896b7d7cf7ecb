"""Operators that have no kernel for quantized numbers, written with operators that have one."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.float_file import FloatFile
from kgated.deploy.tflite.layer_table import LayerTable

_INT32 = schema.TensorType.INT32


def use_embedding_lookup(file: FloatFile) -> None:
    """Write EMBEDDING_LOOKUP where GATHER takes rows of a constant matrix.

    Keras's GATHER has no kernel for weights of 8 or 4 bits.
    """
    model = file.model
    gathers = [
        (graph, operator)
        for graph, operator in flatbuffer.operators(model)
        if flatbuffer.operator_name(model, operator) == "GATHER"
        and _takes_rows(model, graph, operator)
    ]
    for graph, operator in gathers:
        _look_up(model, graph, operator, file.layers)
    if gathers:
        file.changed()


def _takes_rows(model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT) -> bool:
    table, tokens = (graph.tensors[n] for n in operator.inputs)
    options = operator.builtinOptions
    along_rows = options is None or not (options.axis or options.batchDims)
    is_constant = model.buffers[table.buffer].data is not None
    return along_rows and is_constant and len(table.shape) == 2 and tokens.type == _INT32


def _look_up(
    model: schema.ModelT,
    graph: schema.SubGraphT,
    operator: schema.OperatorT,
    layers: LayerTable,
) -> None:
    """Flatten the tokens, look them up, and give the rows the shape that GATHER gave them."""
    table, tokens = operator.inputs
    (result,) = operator.outputs
    count = int(np.prod(graph.tensors[tokens].shape))
    flat = flatbuffer.add_tensor(graph, result, "tokens", (count,), _INT32)
    width = int(graph.tensors[table].shape[1])
    rows = flatbuffer.add_tensor(graph, result, "rows", (count, width), schema.TensorType.FLOAT32)
    for tensor in (flat, rows):
        layers.inherit(graph, tensor, result)
    lookup = schema.OperatorT(
        opcodeIndex=flatbuffer.code_index(model, schema.BuiltinOperator.EMBEDDING_LOOKUP),
        inputs=[flat, table],
        outputs=[rows],
    )
    place = graph.operators.index(operator)
    graph.operators[place : place + 1] = [
        flatbuffer.reshape(model, graph, tokens, flat),
        lookup,
        flatbuffer.reshape(model, graph, rows, result),
    ]


def decompose_squared_difference(file: FloatFile) -> None:
    """Write SUB and MUL for SQUARED_DIFFERENCE, which has no kernel in 16 bits."""
    model = file.model
    operators = [
        (graph, operator)
        for graph, operator in flatbuffer.operators(model)
        if flatbuffer.operator_name(model, operator) == "SQUARED_DIFFERENCE"
    ]
    for graph, operator in operators:
        _subtract_and_square(model, graph, operator, file.layers)
    if operators:
        file.changed()


def _subtract_and_square(
    model: schema.ModelT,
    graph: schema.SubGraphT,
    operator: schema.OperatorT,
    layers: LayerTable,
) -> None:
    result, options = operator.outputs[0], schema.BuiltinOptions
    like = graph.tensors[result]
    difference = flatbuffer.add_tensor(graph, result, "difference", tuple(like.shape), like.type)
    layers.inherit(graph, difference, result)
    subtract = schema.OperatorT(
        opcodeIndex=flatbuffer.code_index(model, schema.BuiltinOperator.SUB),
        inputs=operator.inputs,
        outputs=[difference],
        builtinOptionsType=options.SubOptions,
        builtinOptions=schema.SubOptionsT(),
    )
    graph.operators.insert(graph.operators.index(operator), subtract)
    operator.opcodeIndex = flatbuffer.code_index(model, schema.BuiltinOperator.MUL)
    operator.inputs = [difference, difference]
    operator.builtinOptionsType, operator.builtinOptions = options.MulOptions, schema.MulOptionsT()
