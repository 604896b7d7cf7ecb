"""Lookup tables of functions of one int8 value, filled by LiteRT for all 256 values."""

import contextlib

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from kgated.deploy.c.graph import Operator, Tensor
from kgated.deploy.tflite import flatbuffer

UNARY = ("ABS", "ELU", "EXP", "GELU", "HARD_SWISH", "LOG", "NEG", "RSQRT", "SQRT")
_INTEGERS = np.arange(-128, 128, dtype=np.int8)


def table_of(operator: Operator) -> np.ndarray:
    """The results of an operator for -128 to 127, int8.

    An integer for which LiteRT fails, such as that of a negative number under a root, gets the
    result of the integer above it: no step can meet it.

    Raises:
        ConversionError: LiteRT has no kernel for the operator in int8.
    """
    interpreter = Interpreter(model_content=_model(operator), num_threads=1)
    try:
        interpreter.allocate_tensors()
    except RuntimeError:
        raise operator.refused("LiteRT has no kernel for its types") from None
    source, target = (
        details[0]["index"]
        for details in (interpreter.get_input_details(), interpreter.get_output_details())
    )
    results = np.zeros(len(_INTEGERS), np.int8)
    above = 0
    for n in reversed(range(len(_INTEGERS))):
        interpreter.set_tensor(source, _INTEGERS[n : n + 1])
        with contextlib.suppress(RuntimeError):
            interpreter.invoke()
            above = int(interpreter.get_tensor(target)[0])
        results[n] = above
    return results


def _model(operator: Operator) -> bytes:
    """A file with only this operator, on one value."""
    builtin = getattr(schema.BuiltinOperator, operator.name)
    single = schema.OperatorT(opcodeIndex=0, inputs=[0], outputs=[1])
    if operator.name == "GELU":
        single.builtinOptionsType = schema.BuiltinOptions.GeluOptions
        single.builtinOptions = schema.GeluOptionsT(**operator.options)
    graph = schema.SubGraphT(
        tensors=[_tensor(operator.input(0), "x"), _tensor(operator.output, "y")],
        inputs=[0],
        outputs=[1],
        operators=[single],
    )
    codes = [flatbuffer.operator_code(builtin)]
    model = schema.ModelT(
        version=3, operatorCodes=codes, subgraphs=[graph], buffers=[schema.BufferT()]
    )
    return flatbuffer.pack(model)


def _tensor(tensor: Tensor, name: str) -> schema.TensorT:
    return schema.TensorT(
        shape=np.array([1], np.int32),
        type=schema.TensorType.INT8,
        buffer=0,
        name=name.encode(),
        quantization=schema.QuantizationParametersT(
            scale=np.array([tensor.scale], np.float32),
            zeroPoint=np.array([tensor.zero_point], np.int64),
        ),
    )
