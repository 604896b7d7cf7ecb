"""From the ranges that a model learned at its points to those of every tensor of its file."""

from collections import Counter
from collections.abc import Mapping, Sequence

from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.from_qat.markers import is_constant
from kgated.deploy.quantization.calibration import Ranges, as_range
from kgated.deploy.quantization.shared_scales import Ties
from kgated.deploy.tflite.flatbuffer import (
    add_tensor,
    operator_name,
    pack,
    parse,
    reshape,
    signature,
    tensor_name,
)
from kgated.deploy.tflite.layer_names import owners
from kgated.errors import ConversionError

# Operators that move numbers, or choose among them: what goes in and comes out has one range.
MOVES = {
    *("CONCATENATION", "EXPAND_DIMS", "GATHER", "MAX_POOL_2D", "PACK", "PAD", "REDUCE_MAX"),
    *("RESHAPE", "REVERSE_V2", "SELECT", "SELECT_V2", "SLICE", "SPLIT", "SPLIT_V", "SQUEEZE"),
    *("STRIDED_SLICE", "TRANSPOSE", "UNPACK"),
}
Limits = Mapping[str, tuple[float, float]]


def learned_ranges(
    tflite: bytes, points: Mapping[str, Sequence[str]], limits: Limits, ties: Ties
) -> Ranges:
    """The range of each tensor of a file, for the quantizer.

    Args:
        tflite: a float file without marks.
        points: the points of each marked tensor.
        limits: the least and largest number at each point.
        ties: (input, output) of the signature that are one state.

    Raises:
        ConversionError: a tensor has no range.
    """
    model = parse(tflite)
    # Of several the first: the converter left out an operator that added a zero state.
    found = {name: limits[of[0]] for name, of in points.items()}
    inputs, outputs = signature(model)
    for one, other in ties:
        name = tensor_name(outputs[other])
        if name in found:
            found[tensor_name(inputs[one])] = found[name]
    for graph in model.subgraphs:
        while _spread(model, graph, found):
            pass
        _check(model, graph, found)
    rank = {
        tensor_name(t): len(t.shape)
        for graph in model.subgraphs
        for t in graph.tensors
        if is_constant(model, t)
    }
    # The quantizer wants as many axes in a constant's range as it has itself; without axes, it
    # brings another tensor's range to those of any constant that has to share it.
    return {name: as_range(*limits, rank.get(name, 0)) for name, limits in found.items()}


def _spread(
    model: schema.ModelT, graph: schema.SubGraphT, found: dict[str, tuple[float, float]]
) -> bool:
    """Give the tensors around operators that move numbers the range that one of them has."""
    changed = False
    for operator in graph.operators:
        if operator_name(model, operator) not in MOVES:
            continue
        tensors = [graph.tensors[n] for n in (*operator.outputs, *operator.inputs) if n >= 0]
        known = [found[tensor_name(t)] for t in tensors if tensor_name(t) in found]
        computed = [tensor_name(t) for t in tensors if _is_activation(model, t)]
        missing = [name for name in computed if name not in found]
        if known and missing:
            found.update(dict.fromkeys(missing, known[0]))
            changed = True
    return changed


def _check(
    model: schema.ModelT, graph: schema.SubGraphT, found: dict[str, tuple[float, float]]
) -> None:
    for operator, layer in zip(graph.operators, owners(graph), strict=True):
        name = operator_name(model, operator)
        tensors = [graph.tensors[n] for n in operator.outputs]
        missing = any(_is_activation(model, t) and tensor_name(t) not in found for t in tensors)
        from_table = name == "GATHER" and not _is_activation(
            model, graph.tensors[operator.inputs[0]]
        )
        if missing and not from_table:
            raise ConversionError(
                f"the model learned no range for {name} of layer `{layer}`; convert the float "
                "model with `calibration`"
            )


def _is_activation(model: schema.ModelT, tensor: schema.TensorT) -> bool:
    """Whether a tensor holds floats that are computed."""
    return tensor.type == schema.TensorType.FLOAT32 and not is_constant(model, tensor)


def rounded_before_joints(
    tflite: bytes, points: Mapping[str, Sequence[str]], limits: Limits
) -> bytes:
    """The file with a RESHAPE between a point and the CONCATENATION that alone reads it.

    The quantizer would let the operator of the point write in the range of the whole, which rounds
    once where training rounded twice; in front of a RESHAPE it keeps the point's own range.

    Args:
        tflite: a float file without marks.
        points: the points of each marked tensor.
        limits: the least and largest number at each point.
    """
    model = parse(tflite)
    ranges = {name: limits[of[0]] for name, of in points.items()}
    for graph in model.subgraphs:
        reads = Counter(int(n) for one in graph.operators for n in one.inputs)
        reads.update(map(int, graph.outputs))
        for joint in [o for o in graph.operators if operator_name(model, o) == "CONCATENATION"]:
            of_whole = ranges.get(tensor_name(graph.tensors[joint.outputs[0]]))
            for source in map(int, joint.inputs):
                own = ranges.get(tensor_name(graph.tensors[source]))
                if own and of_whole and own != of_whole and reads[source] == 1:
                    _set_apart(model, graph, joint, source)
    return pack(model, len(tflite))


def _set_apart(
    model: schema.ModelT, graph: schema.SubGraphT, joint: schema.OperatorT, source: int
) -> None:
    tensor = graph.tensors[source]
    apart = add_tensor(graph, source, "apart", tuple(tensor.shape), tensor.type)
    joint.inputs = [apart if n == source else n for n in joint.inputs]
    place = next(n for n, one in enumerate(graph.operators) if one is joint)
    graph.operators.insert(place, reshape(model, graph, source, apart))
