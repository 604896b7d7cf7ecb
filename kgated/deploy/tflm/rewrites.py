"""Operators that TFLM lacks, rewritten into operators that it has."""

import copy

from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.cleanup import eliminate_dead_code
from kgated.deploy.tflite.layer_table import LayerTable
from kgated.deploy.tflm.kernels import MAX_CONCATENATED

_CODES, _TYPES = schema.BuiltinOperator, schema.TensorType


def use_known_operators(model: schema.ModelT, layers: LayerTable) -> None:
    """Put operators that TFLM has in place of some that it lacks; the model is changed.

    SELECT becomes SELECT_V2, and on int32 arithmetic; REDUCE_ANY, which masks use, becomes
    `not all(not x)`; a CONCATENATION of more inputs than the kernel takes becomes a tree; a TILE
    along one axis becomes a CONCATENATION.
    """
    changed = False
    for graph, operator in list(flatbuffer.operators(model)):
        name = flatbuffer.operator_name(model, operator)
        if name in ("SELECT", "SELECT_V2") and _is_int32(graph, operator):
            _select_by_arithmetic(model, graph, operator, layers)
        elif name == "SELECT":
            operator.opcodeIndex = flatbuffer.code_index(model, _CODES.SELECT_V2)
            operator.builtinOptionsType = schema.BuiltinOptions.SelectV2Options
            operator.builtinOptions = schema.SelectV2OptionsT()
        elif name == "REDUCE_ANY":
            _all_for_any(model, graph, operator, layers)
        elif name == "TILE" and (axis := _tiled_axis(graph, operator)) is not None:
            _concatenate_copies(model, graph, operator, axis)
        elif name == "CONCATENATION" and len(operator.inputs) > MAX_CONCATENATED:
            _concatenate_in_tree(graph, operator, layers)
        else:
            continue
        changed = True
    if changed:
        eliminate_dead_code(model)


def _is_int32(graph: schema.SubGraphT, operator: schema.OperatorT) -> bool:
    return bool(graph.tensors[operator.outputs[0]].type == _TYPES.INT32)


def _select_by_arithmetic(
    model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT, layers: LayerTable
) -> None:
    """`y + int32(condition) · (x - y)`, exact in int32, where a sum that overflows wraps back."""
    condition, x, y = operator.inputs
    result = operator.outputs[0]
    shape = _shape(graph, result)
    mask = flatbuffer.add_tensor(graph, result, "mask", _shape(graph, condition), _TYPES.INT32)
    difference, product = (
        flatbuffer.add_tensor(graph, result, suffix, shape, _TYPES.INT32)
        for suffix in ("difference", "product")
    )
    for tensor in (mask, difference, product):
        layers.inherit(graph, tensor, result)
    place = graph.operators.index(operator)
    graph.operators[place : place + 1] = [
        _operator(model, "CAST", "Cast", [condition], mask),
        _operator(model, "SUB", "Sub", [x, y], difference),
        _operator(model, "MUL", "Mul", [mask, difference], product),
        _operator(model, "ADD", "Add", [y, product], result),
    ]


def _all_for_any(
    model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT, layers: LayerTable
) -> None:
    """One REDUCE_ANY becomes a REDUCE_ALL between two LOGICAL_NOT."""
    source, result = operator.inputs[0], operator.outputs[0]
    negated, reduced = (
        flatbuffer.add_tensor(graph, result, suffix, _shape(graph, index), _TYPES.BOOL)
        for suffix, index in (("negated", source), ("reduced", result))
    )
    for tensor in (negated, reduced):
        layers.inherit(graph, tensor, result)
    operator.opcodeIndex = flatbuffer.code_index(model, _CODES.REDUCE_ALL)
    operator.inputs, operator.outputs = [negated, operator.inputs[1]], [reduced]
    place = graph.operators.index(operator)
    graph.operators[place : place + 1] = [
        _operator(model, "LOGICAL_NOT", "LogicalNot", [source], negated),
        operator,
        _operator(model, "LOGICAL_NOT", "LogicalNot", [reduced], result),
    ]


def _tiled_axis(graph: schema.SubGraphT, operator: schema.OperatorT) -> int | None:
    """The only axis that grows, at most by as many copies as a CONCATENATION takes."""
    source, result = (_shape(graph, n) for n in (operator.inputs[0], operator.outputs[0]))
    counts = [new // old for old, new in zip(source, result, strict=True)]
    grown = [axis for axis, count in enumerate(counts) if count > 1]
    return grown[0] if len(grown) == 1 and counts[grown[0]] <= MAX_CONCATENATED else None


def _concatenate_copies(
    model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT, axis: int
) -> None:
    source, result = operator.inputs[0], operator.outputs[0]
    count = _shape(graph, result)[axis] // _shape(graph, source)[axis]
    operator.inputs = [source] * count
    operator.opcodeIndex = flatbuffer.code_index(model, _CODES.CONCATENATION)
    operator.builtinOptionsType = schema.BuiltinOptions.ConcatenationOptions
    operator.builtinOptions = schema.ConcatenationOptionsT(axis=axis)


def _concatenate_in_tree(
    graph: schema.SubGraphT, operator: schema.OperatorT, layers: LayerTable
) -> None:
    """One CONCATENATION becomes several, of no more inputs each than the kernel takes."""
    result = operator.outputs[0]
    output, axis = graph.tensors[result], operator.builtinOptions.axis
    while len(operator.inputs) > MAX_CONCATENATED:
        parts = []
        for start in range(0, len(operator.inputs), MAX_CONCATENATED):
            inputs = list(operator.inputs[start : start + MAX_CONCATENATED])
            shape = [int(n) for n in output.shape]
            shape[axis] = sum(int(graph.tensors[n].shape[axis]) for n in inputs)
            part = flatbuffer.add_tensor(graph, result, f"part_{start}", tuple(shape), output.type)
            graph.tensors[part].quantization = output.quantization
            layers.inherit(graph, part, result)
            concatenation = copy.copy(operator)
            concatenation.inputs, concatenation.outputs = inputs, [part]
            graph.operators.insert(graph.operators.index(operator), concatenation)
            parts.append(part)
        operator.inputs = parts


def _shape(graph: schema.SubGraphT, index: int) -> tuple[int, ...]:
    return tuple(int(n) for n in graph.tensors[index].shape)


def _operator(
    model: schema.ModelT, name: str, options: str, inputs: list[int], output: int
) -> schema.OperatorT:
    return schema.OperatorT(
        opcodeIndex=flatbuffer.code_index(model, getattr(_CODES, name)),
        inputs=inputs,
        outputs=[output],
        builtinOptionsType=getattr(schema.BuiltinOptions, f"{options}Options"),
        builtinOptions=getattr(schema, f"{options}OptionsT")(),
    )
