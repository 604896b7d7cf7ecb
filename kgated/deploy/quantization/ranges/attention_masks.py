"""Limits the masks of attention, which Keras writes as -1e9 or -3e38, to an integer's range.

A softmax gives a masked score no weight if it is some steps of e below the others; so the smallest
score that integers need is the smallest real one less `MARGIN`.
"""

from collections.abc import Iterator
from copy import copy as shallow_copy

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.quantization.ranges.calibration import Ranges
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.float_file import FloatFile

HUGE = 1e8  # no score of a real frame is as large
MOVES = ("EXPAND_DIMS", "RESHAPE", "SELECT", "SELECT_V2", "SQUEEZE", "TRANSPOSE")
MARGIN = {8: 8.0, 16: 12.0}  # exp(-margin) is below half a step of a probability of so many bits


def limit_masks(file: FloatFile, ranges: Ranges, bits: int) -> Ranges:
    """The ranges with those of masked scores limited; the file's constants are changed likewise.

    Args:
        file: a float file.
        ranges: by tensor name, of calibration.
        bits: of an activation.
    """
    limited, lowered = dict(ranges), dict[str, dict[str, np.ndarray]]()
    for graph in file.model.subgraphs:
        _unshare_products(file, graph, limited)
        _unshare_constants(file, graph, limited)
    for graph, operator in flatbuffer.operators(file.model):
        _limit_moved(file, graph, operator, limited, lowered)
        for scores, mask in _masked(file.model, graph, operator, limited):
            low, high = _ends(graph, scores, limited)
            smallest = low - MARGIN[bits]
            is_select = flatbuffer.operator_name(file.model, operator).startswith("SELECT")
            _limit(file.model, graph, mask, -smallest if is_select else high - smallest, limited)
            result = flatbuffer.tensor_name(graph.tensors[operator.outputs[0]])
            limited[result] = lowered[result] = _like(limited[result], smallest, high)
            file.changed()
    return limited


def _unshare_constants(file: FloatFile, graph: schema.SubGraphT, ranges: Ranges) -> None:
    """Give each operator a constant with huge numbers of its own: each needs another size."""
    taken = set[int]()
    for operator in graph.operators:
        for n in {int(n) for n in operator.inputs if n >= 0}:
            if _values(file.model, graph, n) is None or _constant_of(file.model, graph, n) is None:
                continue
            if n in taken:
                copy = _copied(file, graph, n, ranges)
                graph.tensors[copy].buffer = graph.tensors[n].buffer
                operator.inputs = [copy if m == n else int(m) for m in operator.inputs]
            taken.add(n)


def _unshare_products(file: FloatFile, graph: schema.SubGraphT, ranges: Ranges) -> None:
    """Give each operator a product with huge numbers of its own."""
    for product in [o for o in graph.operators if _is_huge_product(file.model, graph, o)]:
        result = int(product.outputs[0])
        readers = [o for o in graph.operators if result in [int(n) for n in o.inputs]]
        for reader in readers[1:]:
            copy = _copied(file, graph, result, ranges)
            operator = shallow_copy(product)
            operator.inputs, operator.outputs = [int(n) for n in product.inputs], [copy]
            reader.inputs = [copy if n == result else int(n) for n in reader.inputs]
            graph.operators.insert(graph.operators.index(reader), operator)


def _is_huge_product(
    model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT
) -> bool:
    is_product = flatbuffer.operator_name(model, operator) == "MUL"
    return is_product and _constant_of(model, graph, int(operator.outputs[0])) is not None


def _copied(file: FloatFile, graph: schema.SubGraphT, n: int, ranges: Ranges) -> int:
    """A new tensor like one of a graph, of the same layer and range."""
    tensor = graph.tensors[n]
    label = f"copy{len(graph.tensors)}"
    shape = tuple(int(size) for size in tensor.shape)
    copy = flatbuffer.add_tensor(graph, n, label, shape, tensor.type)
    file.layers.inherit(graph, copy, n)
    name = flatbuffer.tensor_name(tensor)
    if name in ranges:
        ranges[flatbuffer.tensor_name(graph.tensors[copy])] = ranges[name]
    return copy


def _limit_moved(
    file: FloatFile,
    graph: schema.SubGraphT,
    operator: schema.OperatorT,
    ranges: Ranges,
    lowered: Ranges,
) -> None:
    """Give the range of masked scores to what chooses or moves them."""
    if flatbuffer.operator_name(file.model, operator) not in MOVES:
        return
    names = [flatbuffer.tensor_name(graph.tensors[n]) for n in operator.inputs]
    result = flatbuffer.tensor_name(graph.tensors[operator.outputs[0]])
    for name in names:
        if name in lowered:
            ranges[result] = lowered[result] = lowered[name]


def _masked(
    model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT, ranges: Ranges
) -> Iterator[tuple[int, int]]:
    """The scores and the huge numbers that an operator puts in their place, or adds to them."""
    name = flatbuffer.operator_name(model, operator)
    if name not in ("ADD", "SUB", "SELECT", "SELECT_V2"):
        return
    first, second = (int(n) for n in operator.inputs[-2:])
    for scores, mask in ((first, second), (second, first)):
        has_range = flatbuffer.tensor_name(graph.tensors[scores]) in ranges
        is_real = has_range and max(map(abs, _ends(graph, scores, ranges))) < HUGE
        if is_real and _constant_of(model, graph, mask) is not None:
            yield scores, mask


def _constant_of(model: schema.ModelT, graph: schema.SubGraphT, n: int) -> int | None:
    """The constant with huge numbers that a tensor is, or that it is a product with."""
    values = _values(model, graph, n)
    if values is not None:
        return n if len(values) and np.abs(values).max() >= HUGE else None
    maker = next((o for o in graph.operators if n in o.outputs), None)
    if maker is None or flatbuffer.operator_name(model, maker) != "MUL":
        return None
    factors = (int(m) for m in maker.inputs if _values(model, graph, int(m)) is not None)
    return next((m for m in factors if _constant_of(model, graph, m) is not None), None)


def _limit(
    model: schema.ModelT, graph: schema.SubGraphT, mask: int, size: float, ranges: Ranges
) -> None:
    """Numbers of a size in place of the huge ones, in the constant and in the ranges."""
    constant = _constant_of(model, graph, mask)
    assert constant is not None, "`_masked` gives no other"
    values = _values(model, graph, constant)
    assert values is not None, "it is a constant"
    values = np.where(np.abs(values) >= HUGE, np.sign(values) * size, values).astype(np.float32)
    model.buffers.append(schema.BufferT(data=values.view(np.uint8)))
    graph.tensors[constant].buffer = len(model.buffers) - 1
    for n in {constant, mask}:
        name = flatbuffer.tensor_name(graph.tensors[n])
        if name in ranges:
            low, high = _ends(graph, n, ranges)
            ends = (float(np.clip(end, -size, size)) for end in (low, high))
            ranges[name] = _like(ranges[name], *ends)


def _values(model: schema.ModelT, graph: schema.SubGraphT, n: int) -> np.ndarray | None:
    """The numbers of a float constant; None for any other tensor."""
    tensor = graph.tensors[n]
    if tensor.type != schema.TensorType.FLOAT32 or not flatbuffer.is_constant(model, tensor):
        return None
    return np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.float32)


def _ends(graph: schema.SubGraphT, n: int, ranges: Ranges) -> tuple[float, float]:
    limits = ranges[flatbuffer.tensor_name(graph.tensors[n])]
    low, high = (float(np.asarray(limits[end]).ravel()[0]) for end in ("min", "max"))
    return low, high


def _like(limits: dict[str, np.ndarray], low: float, high: float) -> dict[str, np.ndarray]:
    ends = {"min": low, "max": high}
    return {name: np.full_like(limits[name], end) for name, end in ends.items()}
