"""Quantization with tensors that share scale and zero point, such as a state's input and output."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.quantization.ranges.calibration import Ranges
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.layer_table import LayerTable
from kgated.errors import ConversionError

# (input, output) of the signature.
SharedScales = Sequence[tuple[str, str]]


def quantize_with_shared_scales(
    model: schema.ModelT,
    ranges: Ranges,
    shared: SharedScales,
    apply: Callable[[Ranges], schema.ModelT],
    layers: LayerTable,
) -> schema.ModelT:
    """Quantize so that both tensors of each pair have the same scale and zero point.

    Args:
        model: the float file.
        ranges: by tensor name.
        shared: the pairs.
        apply: from ranges to the quantized file.
        layers: which layer each operator of the float file comes from.

    Raises:
        ConversionError: it can't be done; with the layers.
    """
    name, ranges = flatbuffer.tensor_name, dict(ranges)
    inputs, outputs = flatbuffer.signature(model)
    names = {(a, b): (name(inputs[a]), name(outputs[b])) for a, b in shared}
    for before, after in names.values():
        union = _union(ranges[before], ranges[after])
        ranges |= {tensor: dict(union) for tensor in (before, after)}
    # A kernel such as tanh's fixes its output's scale: the input takes it over. That may change the
    # scale of a state that is copied from this one.
    for _ in range(len(shared) + 1):
        quantized = apply(ranges)
        if not (unequal := unequal_pairs(quantized, shared)):
            return quantized
        _, outputs = flatbuffer.signature(quantized)
        for pair in unequal:
            limits = _representable(outputs[pair[1]])
            ranges |= {tensor: dict(limits) for tensor in names[pair]}
    owners = _layers_of(model, layers, {names[pair][1] for pair in unequal})
    raise ConversionError(
        f"a state goes out in another scale than it comes in, in layers {owners or unequal}; keep "
        f"them in float by `skip={owners}`, or take `quantize='dynamic'`"
    )


def _layers_of(model: schema.ModelT, layers: LayerTable, results: set[str]) -> list[str]:
    """The layers whose operators compute these tensors."""
    owners = {
        layers.layer(graph, operator)
        for graph, operator in flatbuffer.operators(model)
        if any(flatbuffer.tensor_name(graph.tensors[n]) in results for n in operator.outputs)
    }
    return sorted(owner for owner in owners if owner)


def share_ranges_of_selects(model: schema.ModelT, ranges: Ranges) -> Ranges:
    """The ranges; those of results that a chain of SELECTs hands on are the same.

    A masked step of an unrolled recurrent layer selects the state before it. In a scale of its own
    it would round that state once more.

    Args:
        model: the float file.
        ranges: by tensor name.
    """
    name, shared = flatbuffer.tensor_name, dict(ranges)
    for graph in model.subgraphs:
        for group in _select_chains(model, graph):
            names = [name(graph.tensors[n]) for n in group]
            known = [ranges[tensor] for tensor in names if tensor in ranges]
            if len(known) == len(names):
                union = known[0]
                for limits in known[1:]:
                    union = _union(union, limits)
                shared |= {tensor: dict(union) for tensor in names}
    return shared


def _select_chains(model: schema.ModelT, graph: schema.SubGraphT) -> Iterator[set[int]]:
    """The results of SELECTs that read each other's, two or more."""
    groups: dict[int, set[int]] = {}
    for operator in graph.operators:
        if flatbuffer.operator_name(model, operator) not in ("SELECT", "SELECT_V2"):
            continue
        group = {int(operator.outputs[0])}
        for source in (int(n) for n in operator.inputs[1:]):
            group |= groups.get(source, set())
        groups |= dict.fromkeys(group, group)
    unique = {id(group): group for group in groups.values() if len(group) > 1}
    yield from unique.values()


def unequal_pairs(quantized: schema.ModelT, shared: SharedScales) -> list[tuple[str, str]]:
    """The pairs whose tensors differ in type or scale."""
    inputs, outputs = flatbuffer.signature(quantized)
    scale = flatbuffer.scale_and_zero_point
    ends = {(a, b): (inputs[a], outputs[b]) for a, b in shared}
    return [pair for pair, (a, b) in ends.items() if (a.type, scale(a)) != (b.type, scale(b))]


def _union(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        "min": np.minimum(first["min"], second["min"]),
        "max": np.maximum(first["max"], second["max"]),
    }


def _representable(tensor: schema.TensorT) -> dict[str, np.ndarray]:
    """The range from which the quantizer computes a tensor's own scale and zero point."""
    parameters = flatbuffer.scale_and_zero_point(tensor)
    assert parameters is not None, "an output of a pair is quantized, or its input would not differ"
    scale, zero_point = parameters
    limits = np.iinfo(flatbuffer.type_name(tensor))
    # 16 bits are quantized symmetrically, and so the smallest number is left out.
    smallest = -limits.max if limits.bits == 16 else limits.min
    return {
        "min": np.array([(smallest - zero_point) * scale], np.float32),
        "max": np.array([(limits.max - zero_point) * scale], np.float32),
    }
