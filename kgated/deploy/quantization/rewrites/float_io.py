"""Float inputs and outputs of a statically quantized file, where a layer stays in float."""

from collections.abc import Collection

from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.layer_table import LayerTable, scopes

BOUNDARIES = ("QUANTIZE", "DEQUANTIZE")


def use_float_io(model: schema.ModelT) -> None:
    """Let the signature take and give float where the layer beside it computes in float.

    The quantizer makes every input and output of the signature integer, so the input of a layer
    kept in float would be rounded before it, and its output after it.
    """
    # The bodies of loops take what the loop gives them.
    main = flatbuffer.main_signature(model)
    graph = model.subgraphs[main.subgraphIndex]
    # Where an integer output also feeds a layer in float, the quantizer names the wrong tensor.
    graph.outputs = list(dict.fromkeys(entry.tensorIndex for entry in main.outputs))
    _use_float_outputs(model, graph)
    _use_float_inputs(model, graph)
    _set_type_of_unread_outputs(model)


def use_outputs_of(float_model: schema.ModelT, model: schema.ModelT) -> None:
    """Let the signature name the results themselves, and not what another operator reads of them.

    Where a result is also an operand of CONCATENATION in another scale, the quantizer names the
    requantized operand.
    """
    name, graph = flatbuffer.tensor_name, flatbuffer.main_graph(model)
    _, results = flatbuffer.signature(float_model)
    sources = {
        int(operator.outputs[0]): int(operator.inputs[0])
        for operator in graph.operators
        if flatbuffer.operator_name(model, operator) == "QUANTIZE"
    }
    for entry in flatbuffer.main_signature(model).outputs:
        n = int(entry.tensorIndex)
        wanted, output = name(results[entry.name.decode()]), graph.tensors[n]
        while n in sources and name(graph.tensors[n]) != wanted:
            n = sources[n]
        is_result = name(graph.tensors[n]) == wanted and graph.tensors[n].type == output.type
        entry.tensorIndex = n if is_result else entry.tensorIndex


def let_float_operators_read_floats(model: schema.ModelT) -> None:
    """Let an operator in float read a float itself, and not the integers that were made of it.

    Where the result of a layer kept in float is an output of the signature, the quantizer hands the
    output's integers to the operators in float that read it, too.
    """
    for graph in model.subgraphs:
        floats = {n for n, t in enumerate(graph.tensors) if t.type == schema.TensorType.FLOAT32}
        sources = {
            int(operator.outputs[0]): int(operator.inputs[0])
            for operator in graph.operators
            if flatbuffer.operator_name(model, operator) == "QUANTIZE"
            and int(operator.inputs[0]) in floats
        }
        for operator in graph.operators:
            is_boundary = flatbuffer.operator_name(model, operator) in BOUNDARIES
            if not is_boundary and int(operator.outputs[0]) in floats:
                operator.inputs = [sources.get(int(n), n) for n in operator.inputs]


def float_operators(
    model: schema.ModelT, layers: LayerTable, skip: Collection[str] = ()
) -> list[tuple[str, str | None]]:
    """(operator, layer) that compute in float32.

    Leaves out the operators between float and integers, and those of the layers in `skip`.
    """
    in_float, skipped = [], scopes(skip)
    for graph, operator in flatbuffer.operators(model):
        tensors = [graph.tensors[n] for n in (*operator.inputs, *operator.outputs) if n >= 0]
        name, layer = flatbuffer.operator_name(model, operator), layers.layer(graph, operator)
        has_float = any(tensor.type == schema.TensorType.FLOAT32 for tensor in tensors)
        if has_float and layer not in skipped and name not in BOUNDARIES:
            in_float.append((name, layer))
    return in_float


def _use_float_outputs(model: schema.ModelT, graph: schema.SubGraphT) -> None:
    for operator in list(graph.operators):
        if flatbuffer.operator_name(model, operator) != "QUANTIZE":
            continue
        source, target = operator.inputs[0], operator.outputs[0]
        in_float = graph.tensors[source].type == schema.TensorType.FLOAT32
        if in_float and target in graph.outputs and source not in graph.inputs:
            _rename(model, graph, target, source)
            if not any(target in reader.inputs for reader in graph.operators):
                graph.operators.remove(operator)


def _set_type_of_unread_outputs(model: schema.ModelT) -> None:
    """Give an output that no operator reads the type of one beside it.

    The quantizer leaves it in float. Such is the forget gate of a first step, whose state is zero.
    """
    for graph in model.subgraphs:
        read = {int(n) for operator in graph.operators for n in operator.inputs}
        read |= set(map(int, graph.outputs))
        for operator in graph.operators:
            outputs = {int(n): graph.tensors[n] for n in operator.outputs}
            floats = {n for n, t in outputs.items() if t.type == schema.TensorType.FLOAT32}
            integers = [t for n, t in outputs.items() if n not in floats]
            for n in floats - read if integers else ():
                tensor = outputs[n]
                tensor.type, tensor.quantization = integers[0].type, integers[0].quantization


def _rename(model: schema.ModelT, graph: schema.SubGraphT, old: int, new: int) -> None:
    """Make `new` the subgraph's output in place of `old`."""
    graph.outputs = [new if n == old else n for n in graph.outputs]
    for signature in model.signatureDefs:
        if model.subgraphs[signature.subgraphIndex] is graph:
            for entry in signature.outputs:
                entry.tensorIndex = new if entry.tensorIndex == old else entry.tensorIndex


def _use_float_inputs(model: schema.ModelT, graph: schema.SubGraphT) -> None:
    for index in graph.inputs:
        users = [operator for operator in graph.operators if index in operator.inputs]
        names = {flatbuffer.operator_name(model, operator) for operator in users}
        if names != {"DEQUANTIZE"} or index in graph.outputs:
            continue
        tensor = graph.tensors[index]
        tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None
        for user in users:
            graph.operators.remove(user)
            for operator in graph.operators:
                operator.inputs = [index if n == user.outputs[0] else n for n in operator.inputs]
