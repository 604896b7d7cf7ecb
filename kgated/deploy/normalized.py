"""What normalization, `centred * rsqrt(variance)`, needs before it computes in integers."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.quantization.calibration import Ranges
from kgated.deploy.tflite import flatbuffer


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


def bounded(tflite: bytes, found: Ranges, bits: int) -> Ranges:
    """The ranges, with each RSQRT's no wider than its argument's integers can make use of.

    A frame of silence has a variance of zero, and 1/√1e-8 is 10,000: in a range that reaches so far
    the values of every other frame would be one integer.

    Args:
        tflite: the float file.
        found: ranges by tensor name.
        bits: of an activation.
    """
    model, name = flatbuffer.parse(tflite), flatbuffer.tensor_name
    steps = 2 ** (bits - 1) - 1 if bits == 16 else 2**bits - 1  # 16 bits have a sign of no use
    result = dict(found)
    for graph, operator in flatbuffer.operators(model):
        if flatbuffer.operator_name(model, operator) == "RSQRT":
            variance, inverse = (
                name(graph.tensors[ends[0]]) for ends in (operator.inputs, operator.outputs)
            )
            most = np.sqrt(steps / found[variance]["max"])
            largest = np.minimum(found[inverse]["max"], most.astype(np.float32))
            result[inverse] = {"min": np.minimum(found[inverse]["min"], largest), "max": largest}
    return result
