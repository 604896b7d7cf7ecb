"""Derives the range of every tensor from the ranges at the quantization points of QAT."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.quantization.ranges.calibration import Ranges, as_range
from kgated.deploy.quantization.rewrites.activation_tables import collapse_activations
from kgated.deploy.quantization.scales.shared_scales import SharedScales
from kgated.deploy.tflite.flatbuffer import (
    add_tensor,
    clone,
    is_constant,
    operator_name,
    operators,
    reshape,
    signature,
    tensor_name,
)
from kgated.deploy.tflite.float_file import FloatFile
from kgated.deploy.tflite.layer_table import LayerTable
from kgated.errors import ConversionError

# Operators that move numbers, or choose among them: what goes in and comes out has one range.
MOVES = {
    *("CONCATENATION", "EXPAND_DIMS", "GATHER", "MAX_POOL_2D", "PACK", "PAD", "REDUCE_MAX"),
    *("RESHAPE", "REVERSE_V2", "SELECT", "SELECT_V2", "SLICE", "SPLIT", "SPLIT_V", "SQUEEZE"),
    *("STRIDED_SLICE", "TRANSPOSE", "UNPACK"),
}
Limits = Mapping[str, tuple[float, float]]


def qat_ranges(
    file: FloatFile, points: Mapping[str, Sequence[str]], limits: Limits, shared: SharedScales
) -> Ranges:
    """The range of each tensor of a file, for the quantizer.

    Args:
        file: a float file without markers.
        points: the quantization points of each marked tensor.
        limits: the smallest and largest number at each point.
        shared: (input, output) of the signature that are one state.

    Raises:
        ConversionError: a tensor has no range.
    """
    # Of several the first: the converter left out an operator that added a zero state.
    ranges = {name: limits[names[0]] for name, names in points.items()}
    inputs, outputs = signature(file.model)
    for before, after in shared:
        name = tensor_name(outputs[after])
        if name in ranges:
            ranges[tensor_name(inputs[before])] = ranges[name]
    model = _without_regions(file, ranges)
    for graph in model.subgraphs:
        while _spread(model, graph, ranges):
            pass
    _check(model, file.layers, ranges)
    rank = {
        tensor_name(t): len(t.shape)
        for graph in model.subgraphs
        for t in graph.tensors
        if is_constant(model, t)
    }
    # The quantizer wants as many axes in a constant's range as it has itself; without axes, it
    # brings another tensor's range to those of any constant that has to share it.
    return {name: as_range(*limits, rank.get(name, 0)) for name, limits in ranges.items()}


def _spread(
    model: schema.ModelT, graph: schema.SubGraphT, ranges: dict[str, tuple[float, float]]
) -> bool:
    """Give the tensors around operators that move numbers the range that one of them has."""
    changed = False
    for operator in graph.operators:
        if operator_name(model, operator) not in MOVES:
            continue
        tensors = [graph.tensors[n] for n in (*operator.outputs, *operator.inputs) if n >= 0]
        known = [ranges[tensor_name(t)] for t in tensors if tensor_name(t) in ranges]
        computed = [tensor_name(t) for t in tensors if _is_activation(model, t)]
        missing = [name for name in computed if name not in ranges]
        if known and missing:
            ranges.update(dict.fromkeys(missing, known[0]))
            changed = True
    return changed


def _without_regions(file: FloatFile, points: Collection[str]) -> schema.ModelT:
    """A copy with one operator in place of those that a lookup table will stand for.

    What is inside of a table gets no range, not even along a SELECT, and needs none.
    """
    copy = FloatFile(clone(file.model), file.layers)
    collapse_activations(copy, bits=8, points=points)
    return copy.model


def _check(
    model: schema.ModelT, layers: LayerTable, ranges: Mapping[str, tuple[float, float]]
) -> None:
    for graph, operator in operators(model):
        name = operator_name(model, operator)
        tensors = [graph.tensors[n] for n in operator.outputs]
        missing = any(_is_activation(model, t) and tensor_name(t) not in ranges for t in tensors)
        from_table = name == "GATHER" and not _is_activation(
            model, graph.tensors[operator.inputs[0]]
        )
        if missing and not from_table:
            raise ConversionError(
                f"the model learned no range for {name} of layer "
                f"`{layers.layer(graph, operator)}`; convert the float model with `calibration`"
            )


def _is_activation(model: schema.ModelT, tensor: schema.TensorT) -> bool:
    """Whether a tensor holds floats that are computed."""
    return tensor.type == schema.TensorType.FLOAT32 and not is_constant(model, tensor)


def requantize_before_concatenation(
    file: FloatFile, points: Mapping[str, Sequence[str]], limits: Limits
) -> None:
    """Put a RESHAPE between a quantization point and the CONCATENATION that alone reads it.

    The quantizer would let the operator of the point write in the range of the whole, which rounds
    once where training rounded twice; in front of a RESHAPE it keeps the point's own range.

    Args:
        file: a float file without markers.
        points: the quantization points of each marked tensor.
        limits: the smallest and largest number at each point.
    """
    model, changed = file.model, False
    ranges = {name: limits[names[0]] for name, names in points.items()}
    for graph in model.subgraphs:
        reads = Counter(int(n) for operator in graph.operators for n in operator.inputs)
        reads.update(map(int, graph.outputs))
        for concatenation in [
            o for o in graph.operators if operator_name(model, o) == "CONCATENATION"
        ]:
            of_whole = ranges.get(tensor_name(graph.tensors[concatenation.outputs[0]]))
            for source in map(int, concatenation.inputs):
                own = ranges.get(tensor_name(graph.tensors[source]))
                if own and of_whole and own != of_whole and reads[source] == 1:
                    _reshape_before(file, graph, concatenation, source)
                    changed = True
    if changed:
        file.changed()


def _reshape_before(
    file: FloatFile, graph: schema.SubGraphT, concatenation: schema.OperatorT, source: int
) -> None:
    tensor = graph.tensors[source]
    target = add_tensor(graph, source, "apart", tuple(tensor.shape), tensor.type)
    file.layers.inherit(graph, target, source)
    concatenation.inputs = [target if n == source else n for n in concatenation.inputs]
    place = graph.operators.index(concatenation)
    graph.operators.insert(place, reshape(file.model, graph, source, target))
