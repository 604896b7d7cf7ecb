"""A `.tflite` file of one operator, for tests of what its kernel computes."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from kgated.deploy.tflite import flatbuffer

TYPES = {name: getattr(schema.TensorType, name.upper()) for name in ("int8", "int16", "int64")}
# The first that take int16.
VERSIONS = {"LOGISTIC": 3, "TANH": 3, "ADD": 5, "SUB": 5, "MUL": 5}
VERSIONS |= {"FULLY_CONNECTED": 7, "CONV_2D": 7}


def run(name, arrays, scales, shape, scale, **options):
    """What the kernel of operator `name` makes of int16 `arrays[0]`, in integers.

    The other arrays are constants, but for a second one of the first's dtype. `scales` has one
    scale per array, a vector where it has one per channel; `shape` and `scale` are the result's.
    """
    model = schema.ModelT(version=3, buffers=[schema.BufferT()], subgraphs=[], operatorCodes=[])
    graph = schema.SubGraphT(tensors=[], inputs=[], outputs=[], operators=[])
    fed = [x for x in arrays if x.dtype == np.int16]
    for x, one in zip(arrays, scales, strict=True):
        index = _tensor(model, graph, x.shape, str(x.dtype), one, None if _in(x, fed) else x)
        graph.inputs += [index] if _in(x, fed) else []
    graph.outputs = [_tensor(model, graph, shape, "int16", scale, None)]
    operator = schema.OperatorT(inputs=list(range(len(arrays))), outputs=graph.outputs)
    operator.opcodeIndex = flatbuffer.code_index(model, getattr(schema.BuiltinOperator, name))
    model.operatorCodes[0].version = VERSIONS[name]
    if kind := options.pop("kind", None):
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, f"{kind}Options")
        operator.builtinOptions = getattr(schema, f"{kind}OptionsT")(**options)
    graph.operators, model.subgraphs = [operator], [graph]
    interpreter = Interpreter(model_content=flatbuffer.pack(model), num_threads=1)
    interpreter.allocate_tensors()
    for details, x in zip(interpreter.get_input_details(), fed, strict=True):
        interpreter.set_tensor(details["index"], x)
    interpreter.invoke()
    (result,) = interpreter.get_output_details()
    return interpreter.get_tensor(result["index"]).astype(np.int64)


def _in(x, arrays):
    return any(x is one for one in arrays)


def _tensor(model, graph, shape, dtype, scale, data):
    scales = np.atleast_1d(np.asarray(scale, np.float32))
    quantization = schema.QuantizationParametersT(
        scale=scales, zeroPoint=np.zeros(scales.shape, np.int64)
    )
    if data is not None:
        model.buffers.append(schema.BufferT(data=np.frombuffer(data.tobytes(), np.uint8)))
    graph.tensors.append(
        schema.TensorT(
            shape=np.array(shape, np.int32),
            type=TYPES[dtype],
            buffer=0 if data is None else len(model.buffers) - 1,
            quantization=quantization,
            name=f"t{len(graph.tensors)}".encode(),
        )
    )
    return len(graph.tensors) - 1
