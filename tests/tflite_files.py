"""What is in a `.tflite` file, read by its schema."""

from kgated.deploy.quantization.rewrites import float_io
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.layer_table import LayerTable


def operators(content):
    """(name, input tensors, output tensors) of every operator in a file's bytes."""
    model = flatbuffer.parse(content)
    for subgraph, operator in flatbuffer.operators(model):
        outputs = [subgraph.tensors[n] for n in operator.outputs]
        inputs = [subgraph.tensors[n] for n in operator.inputs if n >= 0]
        yield flatbuffer.operator_name(model, operator), inputs, outputs


def operator_names(content):
    return [name for name, _, _ in operators(content)]


def tensor_types(content):
    """The dtype of each tensor that an operator takes or gives, as NumPy spells it."""
    ends = [[*inputs, *outputs] for _, inputs, outputs in operators(content)]
    return {flatbuffer.type_name(tensor) for tensors in ends for tensor in tensors}


def left_in_float(content):
    """Names of the operators that compute in float32."""
    model = flatbuffer.parse(content)
    return [name for name, _ in float_io.float_operators(model, LayerTable.from_names(model))]
