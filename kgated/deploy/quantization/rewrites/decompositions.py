"""Float operators without an integer kernel, written as several that have one.

| operator | recipe | becomes |
|---|---|---|
| LOG_SOFTMAX | int16 | d = x - max(x), d - log(Σ exp(d)) |
| L2_NORMALIZATION | int16 | x / √max(Σ x², ε) |
| PRELU | int16 | relu(x) + α · min(x, 0): the kernel's int16 results are wrong |
| ONE_HOT | static | GATHER of rows of the identity matrix |
| CUMSUM | static | the product with a triangular matrix of ones |
| REDUCE_PROD | static | a product of two numbers after the other |
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.cleanup import eliminate_dead_code, remove_unread_operators
from kgated.deploy.tflite.float_file import FloatFile
from kgated.deploy.tflite.layer_table import LayerTable

MAX_SUMMED = 512  # numbers of a running sum, whose matrix has their square
MAX_MULTIPLIED = 64  # numbers of a product, with two operators each
SMALLEST_SQUARE = 1e-12  # the square of what LiteRT's L2_NORMALIZATION divides by at least
_INT32, _FLOAT32 = schema.TensorType.INT32, schema.TensorType.FLOAT32


def decompose_for_int16(file: FloatFile) -> None:
    """Rewrite the operators that have a good int8 kernel alone; the file is changed."""
    rewrites = {
        "LOG_SOFTMAX": _log_softmax,
        "L2_NORMALIZATION": _l2_normalization,
        "PRELU": _prelu,
    }
    _decompose(file, rewrites)


def decompose_for_integers(file: FloatFile) -> None:
    """Rewrite the operators that have no kernel for scales; the file is changed."""
    rewrites = {"ONE_HOT": _one_hot, "CUMSUM": _running_sums, "REDUCE_PROD": _product}
    _decompose(file, rewrites)


@dataclass
class _Builder:
    """Puts operators before one of a graph, which it replaces."""

    model: schema.ModelT
    graph: schema.SubGraphT
    layers: LayerTable
    operator: schema.OperatorT

    @property
    def result(self) -> int:
        return int(self.operator.outputs[0])

    def shape(self, n: int) -> tuple[int, ...]:
        return tuple(int(size) for size in self.graph.tensors[n].shape)

    def insert(
        self, name: str, suffix: str, shape: tuple[int, ...], *inputs: int, keep: bool = False
    ) -> int:
        """A new operator; returns its result, a new float tensor."""
        target = flatbuffer.add_tensor(self.graph, self.result, suffix, shape, _FLOAT32)
        self.layers.inherit(self.graph, target, self.result)
        new = schema.OperatorT(inputs=list(inputs), outputs=[target])
        self._become(new, name, keep)
        self.graph.operators.insert(self.graph.operators.index(self.operator), new)
        return target

    def replace(self, name: str, *inputs: int) -> None:
        """The operator becomes another one with the same result."""
        self.operator.inputs = list(inputs)
        self._become(self.operator, name, False)

    def over_features(self, name: str, suffix: str, n: int) -> int:
        """The sum or largest of the last axis, which stays with size 1."""
        shape = self.shape(n)
        axis = self.constant(f"{suffix}_axis", np.array([len(shape) - 1], np.int32))
        return self.insert(name, suffix, (*shape[:-1], 1), n, axis, keep=True)

    def constant(self, suffix: str, values: np.ndarray) -> int:
        self.model.buffers.append(schema.BufferT(data=np.frombuffer(values.tobytes(), np.uint8)))
        kind, buffer = _INT32 if values.dtype == np.int32 else _FLOAT32, len(self.model.buffers) - 1
        return flatbuffer.add_tensor(self.graph, self.result, suffix, values.shape, kind, buffer)

    def reshaped(self, n: int, shape: tuple[int, ...]) -> int:
        """Integers in another shape."""
        target = flatbuffer.add_tensor(self.graph, self.result, "tokens", shape, _INT32)
        self.layers.inherit(self.graph, target, self.result)
        place = self.graph.operators.index(self.operator)
        self.graph.operators.insert(place, flatbuffer.reshape(self.model, self.graph, n, target))
        return target

    def numbers(self, n: int) -> np.ndarray:
        """The values of a constant."""
        tensor = self.graph.tensors[n]
        dtype = flatbuffer.type_name(tensor)
        return np.frombuffer(bytes(self.model.buffers[tensor.buffer].data), dtype)

    def _become(self, operator: schema.OperatorT, name: str, keep: bool) -> None:
        code = getattr(schema.BuiltinOperator, name)
        operator.opcodeIndex = flatbuffer.code_index(self.model, code)
        kind = _OPTIONS.get(name)
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind) if kind else 0
        operator.builtinOptions = getattr(schema, f"{kind}T")() if kind else None
        if keep:
            operator.builtinOptions.keepDims = True
        if name == "FULLY_CONNECTED":
            operator.builtinOptions.keepNumDims = True


_OPTIONS = {
    "ADD": "AddOptions",
    "EXP": "ExpOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "GATHER": "GatherOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "MUL": "MulOptions",
    "REDUCE_MAX": "ReducerOptions",
    "RESHAPE": "ReshapeOptions",
    "SLICE": "SliceOptions",
    "SUB": "SubOptions",
    "SUM": "ReducerOptions",
    "TRANSPOSE": "TransposeOptions",
}
_Rewrite = Callable[[_Builder], bool]


def _decompose(file: FloatFile, rewrites: Mapping[str, _Rewrite]) -> None:
    """Rewrite operators by name; take out what nothing reads any more."""
    changed = False
    for graph in file.model.subgraphs:
        for operator in list(graph.operators):
            rewrite = rewrites.get(flatbuffer.operator_name(file.model, operator))
            if rewrite is not None:
                changed |= rewrite(_Builder(file.model, graph, file.layers, operator))
    if changed:
        for graph in file.model.subgraphs:
            remove_unread_operators(graph)
        eliminate_dead_code(file.model)
        file.changed()


def _log_softmax(build: _Builder) -> bool:
    x = int(build.operator.inputs[0])
    shape = build.shape(x)
    difference = build.insert("SUB", "d", shape, x, build.over_features("REDUCE_MAX", "max", x))
    exponentials = build.insert("EXP", "exp", shape, difference)
    total = build.over_features("SUM", "sum", exponentials)
    logarithm = build.insert("LOG", "log", build.shape(total), total)
    build.replace("SUB", difference, logarithm)
    return True


def _l2_normalization(build: _Builder) -> bool:
    x = int(build.operator.inputs[0])
    total = build.over_features("SUM", "sum", build.insert("MUL", "square", build.shape(x), x, x))
    smallest = build.constant("smallest", np.array([SMALLEST_SQUARE], np.float32))
    shape = build.shape(total)
    limited = build.insert("MAXIMUM", "limited", shape, total, smallest)
    build.replace("MUL", x, build.insert("RSQRT", "inverse", shape, limited))
    return True


def _prelu(build: _Builder) -> bool:
    x, slopes = (int(n) for n in build.operator.inputs)
    shape = build.shape(x)
    zero = build.constant("zero", np.zeros(1, np.float32))
    negative = build.insert("MINIMUM", "min", shape, x, zero)
    scaled = build.insert("MUL", "scaled", shape, negative, slopes)
    build.replace("ADD", build.insert("RELU", "relu", shape, x), scaled)
    return True


def _one_hot(build: _Builder) -> bool:
    indices, depth, on, off = (int(n) for n in build.operator.inputs)
    count = int(build.numbers(depth).ravel()[0])
    values = [float(build.numbers(n).ravel()[0]) for n in (on, off)]
    axis, rank = build.operator.builtinOptions.axis, len(build.shape(build.result))
    tokens = _integers_of(build, indices)
    if axis not in (-1, rank - 1) or build.graph.tensors[tokens].type != _INT32:
        return False
    if build.shape(tokens) != build.shape(indices):
        tokens = build.reshaped(tokens, build.shape(indices))
    rows = np.where(np.eye(count, dtype=bool), *values).astype(np.float32)
    build.replace("GATHER", build.constant("rows", rows), tokens)
    return True


def _running_sums(build: _Builder) -> bool:
    x, options = int(build.operator.inputs[0]), build.operator.builtinOptions
    shape = build.shape(x)
    axis = int(build.numbers(int(build.operator.inputs[1])).ravel()[0]) % len(shape)
    count = shape[axis]
    if count > MAX_SUMMED or build.graph.tensors[x].type != _FLOAT32:
        return False
    ones = np.tril(np.ones((count, count), np.float32), -1 if options.exclusive else 0)
    matrix = build.constant("ones", ones.T.copy() if options.reverse else ones)
    if axis == len(shape) - 1:
        build.replace("FULLY_CONNECTED", x, matrix, -1)
        return True
    order = np.arange(len(shape), dtype=np.int32)
    order[[axis, -1]] = order[[-1, axis]]
    axes, swapped = build.constant("order", order), tuple(shape[n] for n in order)
    columns = build.insert("TRANSPOSE", "columns", swapped, x, axes)
    sums = build.insert("FULLY_CONNECTED", "sums", swapped, columns, matrix, -1)
    build.replace("TRANSPOSE", sums, axes)
    return True


def _product(build: _Builder) -> bool:
    x, axes = int(build.operator.inputs[0]), build.numbers(int(build.operator.inputs[1]))
    shape = build.shape(x)
    axis = int(axes.ravel()[0]) % len(shape)
    count = shape[axis]
    if axes.size != 1 or count > MAX_MULTIPLIED or build.graph.tensors[x].type != _FLOAT32:
        return False
    sizes = np.array([1 if n == axis else size for n, size in enumerate(shape)], np.int32)
    ends, product = build.constant("sizes", sizes), -1
    for n in range(count):
        begin = np.zeros(len(shape), np.int32)
        begin[axis] = n
        factor = build.constant(f"begin_{n}", begin)
        factor = build.insert("SLICE", f"factor_{n}", tuple(sizes), x, factor, ends)
        multiplied = (f"product_{n}", tuple(sizes), product, factor)
        product = factor if n == 0 else build.insert("MUL", *multiplied)
    result = np.array(build.shape(build.result), np.int32)
    build.replace("RESHAPE", product, build.constant("shape", result))
    return True


def _integers_of(build: _Builder, n: int) -> int:
    """The tensor with the same integers before CASTs and RESHAPEs; a CAST to float keeps them."""
    makers = {int(o.outputs[0]): o for o in build.graph.operators if len(o.outputs)}
    while n in makers and flatbuffer.operator_name(build.model, makers[n]) in ("CAST", "RESHAPE"):
        n = int(makers[n].inputs[0])
    return n
