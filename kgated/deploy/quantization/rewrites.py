"""Embeddings as EMBEDDING_LOOKUP: Keras's GATHER has no kernel for weights of 8 or 4 bits."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite import flatbuffer

_INT32 = schema.TensorType.INT32


def with_lookups(tflite: bytes) -> bytes:
    """The same file with EMBEDDING_LOOKUP where GATHER takes rows of a constant matrix."""
    model = flatbuffer.parse(tflite)
    found = [
        (subgraph, operator)
        for subgraph, operator in flatbuffer.operators(model)
        if flatbuffer.operator_name(model, operator) == "GATHER"
        and _takes_rows(model, subgraph, operator)
    ]
    for subgraph, operator in found:
        _replace(model, subgraph, operator)
    return flatbuffer.pack(model, len(tflite)) if found else tflite


def _takes_rows(
    model: schema.ModelT, subgraph: schema.SubGraphT, operator: schema.OperatorT
) -> bool:
    table, tokens = (subgraph.tensors[n] for n in operator.inputs)
    options = operator.builtinOptions
    along_rows = options is None or not (options.axis or options.batchDims)
    is_constant = model.buffers[table.buffer].data is not None
    return along_rows and is_constant and len(table.shape) == 2 and tokens.type == _INT32


def _replace(model: schema.ModelT, subgraph: schema.SubGraphT, operator: schema.OperatorT) -> None:
    """Flatten the tokens, look them up, and give the rows the shape that GATHER gave them."""
    table, tokens = operator.inputs
    (result,) = operator.outputs
    count = int(np.prod(subgraph.tensors[tokens].shape))
    flat = flatbuffer.add_tensor(subgraph, result, "tokens", (count,), _INT32)
    width = int(subgraph.tensors[table].shape[1])
    rows = flatbuffer.add_tensor(
        subgraph, result, "rows", (count, width), schema.TensorType.FLOAT32
    )
    lookup = schema.OperatorT(
        opcodeIndex=flatbuffer.code_index(model, schema.BuiltinOperator.EMBEDDING_LOOKUP),
        inputs=[flat, table],
        outputs=[rows],
    )
    place = next(n for n, one in enumerate(subgraph.operators) if one is operator)
    subgraph.operators[place : place + 1] = [
        flatbuffer.reshape(model, subgraph, tokens, flat),
        lookup,
        flatbuffer.reshape(model, subgraph, rows, result),
    ]


def with_products(tflite: bytes) -> bytes:
    """The same file with SUB and MUL for SQUARED_DIFFERENCE, which has no kernel in 16 bits."""
    model = flatbuffer.parse(tflite)
    found = [
        (graph, operator)
        for graph, operator in flatbuffer.operators(model)
        if flatbuffer.operator_name(model, operator) == "SQUARED_DIFFERENCE"
    ]
    for graph, operator in found:
        _square(model, graph, operator)
    return flatbuffer.pack(model, len(tflite)) if found else tflite


def _square(model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT) -> None:
    result, options = operator.outputs[0], schema.BuiltinOptions
    like = graph.tensors[result]
    difference = flatbuffer.add_tensor(graph, result, "difference", tuple(like.shape), like.type)
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
