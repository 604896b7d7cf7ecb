"""Where integers and floats meet in a statically quantized file."""

from collections.abc import Collection

from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.layer_names import owners, scope

SEAMS = ("QUANTIZE", "DEQUANTIZE")


def open_float(tflite: bytes) -> bytes:
    """Let float go in and out where the layer at the door computes in float.

    The quantizer makes every input and output of the signature integer, so a layer kept in float
    would have its input rounded before, and its output after it.
    """
    model = flatbuffer.parse(tflite)
    # The bodies of loops take what the loop gives them.
    first = flatbuffer.main_signature(model)
    subgraph = model.subgraphs[first.subgraphIndex]
    # Where an integer output also feeds a layer in float, the quantizer names the wrong tensor.
    subgraph.outputs = list(dict.fromkeys(entry.tensorIndex for entry in first.outputs))
    _open_outputs(model, subgraph)
    _open_inputs(model, subgraph)
    _type_unread(model)
    return flatbuffer.pack(model, len(tflite))


def float_operators(
    model: schema.ModelT, skip: Collection[str] = ()
) -> list[tuple[str, str | None]]:
    """(operator, layer) that compute in float32, but for seams and the layers in `skip`."""
    found, skipped = [], {scope(layer) for layer in skip}
    for subgraph in model.subgraphs:
        for operator, layer in zip(subgraph.operators, owners(subgraph), strict=True):
            tensors = [subgraph.tensors[n] for n in (*operator.inputs, *operator.outputs) if n >= 0]
            in_float = any(tensor.type == schema.TensorType.FLOAT32 for tensor in tensors)
            name = flatbuffer.operator_name(model, operator)
            if in_float and layer not in skipped and name not in SEAMS:
                found.append((name, layer))
    return found


def _open_outputs(model: schema.ModelT, subgraph: schema.SubGraphT) -> None:
    for operator in list(subgraph.operators):
        if flatbuffer.operator_name(model, operator) != "QUANTIZE":
            continue
        source, target = operator.inputs[0], operator.outputs[0]
        in_float = subgraph.tensors[source].type == schema.TensorType.FLOAT32
        if in_float and target in subgraph.outputs and source not in subgraph.inputs:
            _rename(model, subgraph, target, source)
            if not any(target in other.inputs for other in subgraph.operators):
                subgraph.operators.remove(operator)


def _type_unread(model: schema.ModelT) -> None:
    """Give an output that nobody reads the type of one beside it: the quantizer left it in float.

    Such is the forget gate of a first step, whose state is zero.
    """
    for subgraph, operator in flatbuffer.operators(model):
        read = {int(n) for other in subgraph.operators for n in other.inputs}
        read |= set(map(int, subgraph.outputs))
        outputs = [subgraph.tensors[n] for n in operator.outputs]
        unread = [subgraph.tensors[n] for n in operator.outputs if int(n) not in read]
        typed = [t for t in outputs if t.type != schema.TensorType.FLOAT32]
        for tensor in unread if typed else ():
            tensor.type, tensor.quantization = typed[0].type, typed[0].quantization


def _rename(model: schema.ModelT, subgraph: schema.SubGraphT, old: int, new: int) -> None:
    """Make `new` the subgraph's output in place of `old`."""
    subgraph.outputs = [new if n == old else n for n in subgraph.outputs]
    for signature in model.signatureDefs:
        if model.subgraphs[signature.subgraphIndex] is subgraph:
            for entry in signature.outputs:
                entry.tensorIndex = new if entry.tensorIndex == old else entry.tensorIndex


def _open_inputs(model: schema.ModelT, subgraph: schema.SubGraphT) -> None:
    for index in subgraph.inputs:
        users = [operator for operator in subgraph.operators if index in operator.inputs]
        names = {flatbuffer.operator_name(model, operator) for operator in users}
        if names != {"DEQUANTIZE"} or index in subgraph.outputs:
            continue
        tensor = subgraph.tensors[index]
        tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None
        for user in users:
            subgraph.operators.remove(user)
            for operator in subgraph.operators:
                operator.inputs = [index if n == user.outputs[0] else n for n in operator.inputs]
