"""Values side by side in one range, each rounded in its own before, as training rounds them."""

from collections import Counter
from collections.abc import Mapping, Sequence

from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.from_qat.ranges import Limits
from kgated.deploy.tflite.flatbuffer import (
    add_tensor,
    operator_name,
    pack,
    parse,
    reshape,
    tensor_name,
)


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
