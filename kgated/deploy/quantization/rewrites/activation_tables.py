"""Replaces functions of one tensor by lookup tables for integers.

`softplus`, `mish`, `selu` and their like become several operators, some without an integer kernel,
some with results of a range that integers of their own resolve badly: exp(x), or x - tanh(x). All
of them act on each number alone, so the whole is a function of one number, and 8 bits have 256 of
them. Such a region is replaced by one placeholder before the quantizer sees it, and by three
operators after: CAST the integers to int32, ADD 128, GATHER from the table of results.
"""

import copy
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from kgated.deploy.quantization.rewrites.integer_kernels import KERNELS
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.cleanup import remove_unread_operators
from kgated.deploy.tflite.float_file import FloatFile
from kgated.deploy.tflite.layer_table import scopes
from kgated.deploy.tflm.kernels import TYPES

# An operator that the quantizer leaves in float: it only has to carry the place of a region.
PLACEHOLDER = "ELU"
_FLOAT32 = schema.TensorType.FLOAT32
_COMPARISONS = {"EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL"}
_ELEMENTWISE = _COMPARISONS | {
    *("ABS", "CEIL", "COS", "ELU", "EXP", "FLOOR", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOG"),
    *("LOGISTIC", "NEG", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "ROUND", "RSQRT"),
    *("SIGN", "SIN", "SQRT", "SQUARE", "TANH", "CAST", "LOGICAL_NOT", "ADD", "SUB", "MUL", "DIV"),
    *("MAXIMUM", "MINIMUM", "POW", "SQUARED_DIFFERENCE", "LOGICAL_AND", "LOGICAL_OR"),
    *("SELECT", "SELECT_V2", "ZEROS_LIKE", "ATAN2", "FLOOR_DIV", "FLOOR_MOD"),
}
# Their 16-bit kernels interpolate a table of 513 entries, which training does not model.
_INTERPOLATED = ("ELU", "EXP", "GELU", "HARD_SWISH", "LOG")
Function = Callable[[np.ndarray], np.ndarray]


def collapse_activations(
    file: FloatFile,
    bits: int,
    skip: Collection[str] = (),
    points: Collection[str] = (),
    on_mcu: bool = False,
) -> dict[str, Function]:
    """Put a placeholder for each region that integers compute by a table; the file is changed.

    Args:
        file: a float file.
        bits: of an activation.
        skip: layers that stay in float.
        points: names of tensors that training rounded. A region ends at each of them, and several
            operators between two of them are one table, since training rounded nothing there.
        on_mcu: whether the kernels are those of TensorFlow Lite Micro.

    Returns:
        The function of each region by the name of its result.
    """
    functions = dict[str, Function]()
    for graph in file.model.subgraphs:
        regions = list(_regions(file, graph, bits, scopes(skip), points, on_mcu))
        for region in regions:
            functions[flatbuffer.tensor_name(graph.tensors[region.result])] = region.function()
        for region in regions:
            region.collapse()
        remove_unread_operators(graph)
    if functions:
        file.changed()
    return functions


@dataclass(frozen=True)
class _Region:
    """Operators from one float tensor to another of its shape, each number by itself."""

    model: schema.ModelT
    graph: schema.SubGraphT
    operators: tuple[schema.OperatorT, ...]
    source: int
    result: int

    def function(self) -> Function:
        """The function of the region, computed by the float kernels."""
        model, graph = self.model, self.graph
        used = {n for o in self.operators for n in (*o.inputs, *o.outputs) if n >= 0}
        tensors, operators = list(graph.tensors), list(self.operators)

        def apply(x: np.ndarray) -> np.ndarray:
            buffers = [schema.BufferT()]  # not the weights of the whole file
            sized = [
                _resized(model, t, buffers, x.shape) if n in used else schema.TensorT()
                for n, t in enumerate(tensors)
            ]
            subgraph = schema.SubGraphT(
                tensors=sized, inputs=[self.source], outputs=[self.result], operators=operators
            )
            part = schema.ModelT(
                version=3, buffers=buffers, operatorCodes=model.operatorCodes, subgraphs=[subgraph]
            )
            return _run(flatbuffer.pack(part), x)

        return apply

    def collapse(self) -> None:
        """The placeholder in place of the operator that gives the result."""
        code = flatbuffer.code_index(self.model, getattr(schema.BuiltinOperator, PLACEHOLDER))
        placeholder = schema.OperatorT(
            opcodeIndex=code, inputs=[self.source], outputs=[self.result]
        )
        place = next(n for n, o in enumerate(self.graph.operators) if self.result in o.outputs)
        self.graph.operators[place] = placeholder


def _regions(
    file: FloatFile,
    graph: schema.SubGraphT,
    bits: int,
    skipped: Collection[str],
    points: Collection[str],
    on_mcu: bool,
) -> Iterator[_Region]:
    model, roots = file.model, _roots(file.model, graph, points)
    makers = {
        int(o.outputs[0]): o for o in graph.operators if o.outputs is not None and len(o.outputs)
    }
    for result in _results(model, graph, roots):
        operators = _between(model, graph, makers, roots[result], result)
        if any(file.layers.layer(graph, o) in skipped for o in operators):
            continue
        lacks_kernel = on_mcu and bits == 8 and not _on_mcu(model, operators)
        if lacks_kernel or _needs_table(model, graph, operators, bits, bool(points)):
            yield _Region(model, graph, tuple(operators), roots[result], result)


def _roots(
    model: schema.ModelT, graph: schema.SubGraphT, points: Collection[str]
) -> dict[int, int]:
    """The tensor that each result of an elementwise operator is a function of.

    Nothing is a function of what comes before one of the points.
    """
    roots: dict[int, int] = {}
    for operator in graph.operators:
        if flatbuffer.operator_name(model, operator) not in _ELEMENTWISE:
            continue
        result = int(operator.outputs[0])
        inputs = [int(n) for n in operator.inputs if not _is_uniform(model, graph, int(n))]
        sources = {_root(graph, n, roots, points) for n in inputs}
        shapes = {tuple(graph.tensors[n].shape) for n in (*inputs, *sources, result)}
        if len(sources) == 1 and len(shapes) == 1:
            (source,) = sources
            tensor = graph.tensors[source]
            if tensor.type == _FLOAT32 and not flatbuffer.is_constant(model, tensor):
                roots[result] = source
    return roots


def _root(graph: schema.SubGraphT, n: int, roots: dict[int, int], points: Collection[str]) -> int:
    return n if flatbuffer.tensor_name(graph.tensors[n]) in points else roots.get(n, n)


def _results(model: schema.ModelT, graph: schema.SubGraphT, roots: dict[int, int]) -> Iterator[int]:
    """The float results of regions that something outside of their region reads."""
    outside = set(map(int, graph.outputs))
    for operator in graph.operators:
        result = int(operator.outputs[0]) if len(operator.outputs) else -1
        outside |= {int(n) for n in operator.inputs if roots.get(result) != roots.get(int(n))}
    for n in roots:
        if n in outside and graph.tensors[n].type == _FLOAT32:
            yield n


def _between(
    model: schema.ModelT,
    graph: schema.SubGraphT,
    makers: dict[int, schema.OperatorT],
    source: int,
    result: int,
) -> list[schema.OperatorT]:
    """The operators that lead from one tensor to the other, in the order of the graph."""
    pending, needed = [result], set[int]()
    while pending:
        n = pending.pop()
        if n == source or n not in makers or id(makers[n]) in needed:
            continue
        needed.add(id(makers[n]))
        pending += [int(m) for m in makers[n].inputs]
    return [operator for operator in graph.operators if id(operator) in needed]


def _needs_table(
    model: schema.ModelT,
    graph: schema.SubGraphT,
    operators: list[schema.OperatorT],
    bits: int,
    from_qat: bool,
) -> bool:
    """Whether an operator has no integer kernel, or integers would lose what it computes."""
    names = [flatbuffer.operator_name(model, operator) for operator in operators]
    if from_qat and (len(names) > 1 or (bits == 16 and names[0] in _INTERPOLATED)):
        return True
    if not all(_has_kernel(name, bits) for name in names):
        return True
    if len(names) > 1 and not all(_by_quantizer(name) for name in names):
        return True  # such as log(1 + exp(x)), whose exp(x) spans what no integers resolve
    subtractions = [o for o, name in zip(operators, names, strict=True) if name == "SUB"]
    return any(
        all(not _is_uniform(model, graph, int(n)) for n in operator.inputs)
        for operator in subtractions  # x - f(x): what is left may be smaller than a step of x
    )


def _on_mcu(model: schema.ModelT, operators: list[schema.OperatorT]) -> bool:
    """Whether TensorFlow Lite Micro has an int8 kernel for each operator."""
    names = [flatbuffer.operator_name(model, operator) for operator in operators]
    return all("int8" in TYPES.get(name, ()) for name in names)


def _has_kernel(name: str, bits: int) -> bool:
    if bits == 16 and name == "HARD_SWISH":
        return False  # the quantizer knows it in int8 alone
    return _by_quantizer(name) or (name in KERNELS and bits in KERNELS[name].bits)


def _by_quantizer(name: str) -> bool:
    from ai_edge_quantizer.qtyping import TFLOperationName

    return name in {str(operator.value) for operator in TFLOperationName} - _COMPARISONS


def _is_uniform(model: schema.ModelT, graph: schema.SubGraphT, n: int) -> bool:
    """Whether a tensor is a constant of one value, however often it stands there."""
    if not flatbuffer.is_constant(model, graph.tensors[n]):
        return False
    data, count = bytes(model.buffers[graph.tensors[n].buffer].data), _count(graph.tensors[n])
    return data == data[: len(data) // count] * count


def _count(tensor: schema.TensorT) -> int:
    """How many numbers a tensor has; a scalar one."""
    return max(1, int(np.prod(tensor.shape))) if tensor.shape is not None else 1


def _resized(
    model: schema.ModelT,
    tensor: schema.TensorT,
    buffers: list[schema.BufferT],
    shape: tuple[int, ...],
) -> schema.TensorT:
    """The tensor for a vector of numbers; a constant of one value as often."""
    sized = copy.copy(tensor)
    sized.shapeSignature = None
    if not flatbuffer.is_constant(model, tensor):
        sized.shape, sized.buffer = np.array(shape, np.int32), 0
        return sized
    data = bytes(model.buffers[tensor.buffer].data)
    number = data[: len(data) // _count(tensor)]
    # ATAN2 reads as many numbers of a constant as of its operand.
    buffers.append(schema.BufferT(data=np.frombuffer(number * int(np.prod(shape)), np.uint8)))
    sized.shape, sized.buffer = np.array(shape, np.int32), len(buffers) - 1
    return sized


def _run(tflite: bytes, x: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(model_content=tflite, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x.astype(np.float32))
    interpreter.invoke()
    return np.array(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
