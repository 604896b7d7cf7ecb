"""Float operators without an integer kernel, written as several that have one.

| operator | recipe | becomes |
|---|---|---|
| LOG_SOFTMAX | int16 | d = x - max(x), d - log(Σ exp(d)) |
| L2_NORMALIZATION | int16 | x / √max(Σ x², ε) |
| PRELU | int16 | relu(x) + α · min(x, 0): the kernel's int16 results are wrong |
| ONE_HOT | static | GATHER of rows of the identity matrix |
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.cleanup import eliminate_dead_code, remove_unread_operators
from kgated.deploy.tflite.float_file import FloatFile
from kgated.deploy.tflite.layer_table import LayerTable

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


def decompose_one_hot(file: FloatFile) -> None:
    """Rewrite ONE_HOT, which has no kernel for scales; the file is changed."""
    _decompose(file, {"ONE_HOT": _one_hot})


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


_OPTIONS = {
    "ADD": "AddOptions",
    "EXP": "ExpOptions",
    "GATHER": "GatherOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "MUL": "MulOptions",
    "REDUCE_MAX": "ReducerOptions",
    "SUB": "SubOptions",
    "SUM": "ReducerOptions",
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


def _integers_of(build: _Builder, n: int) -> int:
    """The tensor with the same integers before CASTs and RESHAPEs; a CAST to float keeps them."""
    makers = {int(o.outputs[0]): o for o in build.graph.operators if len(o.outputs)}
    while n in makers and flatbuffer.operator_name(build.model, makers[n]) in ("CAST", "RESHAPE"):
        n = int(makers[n].inputs[0])
    return n
