"""Differences of int8 results between TensorFlow Lite Micro and LiteRT, by operator and by cell.

The first table compares single operators on the same integers. The second compares models over a
sequence; each runtime carries its own states. It needs the package `tflite-micro`.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import OpResolverType
from benchmarks.micro import (
    Invoke,
    litert,
    longest_path,
    micro,
    operators_of,
    smallest_arena,
    steps_apart,
)
from benchmarks.tables import Row, markdown

import kgated
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflm import arena_bytes

PLAIN = {"experimental_op_resolver_type": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES}
ROWS, WIDTH, FEATURES, UNITS, FRAMES, SEEDS = 64, 64, 5, 16, 200, 3
ARENA = 2**20
# Scale and zero point of each operand and of the result, as they occur in a cell.
OPERATORS = {
    "LOGISTIC": [(0.05, 3), (1 / 256, -128)],
    "TANH": [(0.05, 3), (1 / 128, 0)],
    "ADD": [(0.031, 5), (0.047, -7), (0.053, 1)],
    "SUB": [(0.0078, 0), (0.0078, 0), (0.013, 1)],
    "MUL": [(1 / 256, -128), (0.011, 4), (0.009, 2)],
    "FULLY_CONNECTED": [(0.03, 2), (0.004, 0), (0.09, 6)],
}
CELLS = {"LSTM": kgated.LSTM, "PeepholeLSTM": kgated.PeepholeLSTM, "GRU": kgated.GRU}


def operator_file(name: str, rng: np.random.Generator) -> bytes:
    """One operator on int8 of shape (ROWS, WIDTH); the weights of FULLY_CONNECTED are constant."""
    model = schema.ModelT(version=3, buffers=[schema.BufferT()], operatorCodes=[], metadata=[])
    graph = schema.SubGraphT(tensors=[], operators=[], inputs=[], outputs=[])
    *operands, result = OPERATORS[name]
    for n, (scale, zero_point) in enumerate([*operands, result]):
        buffer, is_weight = 0, name == "FULLY_CONNECTED" and n == 1
        if is_weight:
            weights = rng.integers(-127, 128, (WIDTH, WIDTH)).astype(np.int8)
            buffer = flatbuffer.add_buffer(model, weights)
        graph.tensors.append(_tensor(f"t{n}", (ROWS, WIDTH), scale, zero_point, buffer))
        graph.inputs += [n] if n < len(operands) and not is_weight else []
    graph.outputs = [len(operands)]
    code = flatbuffer.code_index(model, getattr(schema.BuiltinOperator, name))
    operator = schema.OperatorT(
        opcodeIndex=code, inputs=list(range(len(operands))), outputs=graph.outputs
    )
    if name not in ("LOGISTIC", "TANH"):
        kind = f"{name.title().replace('_', '')}Options"
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        operator.builtinOptions = getattr(schema, f"{kind}T")()
    graph.operators, model.subgraphs = [operator], [graph]
    entry = schema.SignatureDefT(signatureKey=b"step", subgraphIndex=0, inputs=[], outputs=[])
    model.signatureDefs = [entry]
    return flatbuffer.pack(model)


def _tensor(
    name: str, shape: tuple[int, int], scale: float, zero_point: int, buffer: int
) -> schema.TensorT:
    return schema.TensorT(
        name=name.encode(),
        shape=np.array(shape, np.int32),
        type=schema.TensorType.INT8,
        buffer=buffer,
        quantization=schema.QuantizationParametersT(
            scale=np.array([scale], np.float32), zeroPoint=np.array([zero_point], np.int64)
        ),
    )


def operator_row(name: str) -> Row:
    """How many results of an operator differ, and by how much."""
    rng = np.random.default_rng(0)
    content = operator_file(name, rng)
    inputs = len(flatbuffer.parse(content).subgraphs[0].inputs)
    x = [rng.integers(-128, 128, (ROWS, WIDTH)).astype(np.int8) for _ in range(inputs)]
    expected = litert(content)(x)[0].astype(int)
    row: Row = {"operator": name}
    runtimes: dict[str, Invoke] = {
        "tflite-micro": micro(content, ARENA),
        "LiteRT without XNNPACK": litert(content, **PLAIN),
    }
    for runtime, invoke in runtimes.items():
        apart = np.abs(invoke(x)[0].astype(int) - expected)
        row[f"{runtime}, differ %"] = f"{100 * np.mean(apart > 0):.2f}"
        row[f"{runtime}, max steps"] = int(apart.max())
    return row


def cell_row(name: str, folder: Path) -> Row:
    """The difference for a model of one cell, and its number of operators."""
    apart, path = [], folder / f"{name}.tflite"
    for seed in range(SEEDS):
        keras.utils.set_random_seed(seed)
        rng = np.random.default_rng(seed)
        options: dict[str, Any] = {}
        if name == "PeepholeLSTM":
            options["peephole_initializer"] = "glorot_uniform"
        layers = [CELLS[name](UNITS, **options), keras.layers.Dense(3)]
        model = keras.Sequential([keras.Input((None, FEATURES)), *layers])
        x = rng.normal(size=(8, 20, FEATURES)).astype(np.float32)
        kgated.to_tflite(model, path, quantize="int8", target="mcu", calibration=x)
        frames = rng.normal(size=(FRAMES, FEATURES)).astype(np.float32)
        apart.append(steps_apart(path, frames))
    count, content = operators_of(path), path.read_bytes()
    smallest = smallest_arena(content)
    return {
        "cell": name,
        "operators": sum(count.values()),
        "in series": longest_path(path),
        "that round sums and products": sum(count[kind] for kind in ("ADD", "SUB", "MUL")),
        f"max steps of 256 over {FRAMES} frames, {SEEDS} seeds": max(apart),
        "each seed": ", ".join(map(str, apart)),
        "kArenaBytes above the smallest, %": f"{100 * (arena_bytes(content) / smallest - 1):.0f}",
    }


def main() -> None:
    """Print both tables."""
    print(markdown([operator_row(name) for name in OPERATORS], "By operator"))
    with tempfile.TemporaryDirectory() as folder:
        print(markdown([cell_row(name, Path(folder)) for name in CELLS], "By cell"))


if __name__ == "__main__":
    main()
