"""An upper bound of the working memory that TensorFlow Lite Micro takes for a file."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.lstm_operator import C_STATE
from kgated.deploy.tflm.kernels import LSTM

ALIGNMENT = 16
# Bytes of the runtime's own records on a 64-bit machine, as its recording allocator reports; on a
# 32-bit microcontroller they take about half.
PER_FILE, PER_TENSOR, PER_OPERATOR, PER_END = 1024, 24, 136, 64
PER_CHANNEL, PER_LSTM, PER_INT16_SOFTMAX = 8, 800, 2080
CHANNELS_OF = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D")
# What it takes while it plans, in the memory where the tensors are placed afterwards.
PLANNING_TENSOR, PLANNING_BLOCK, PLANNING_SCRATCH = 32, 36, 84
SCRATCHES = {LSTM: 4, "MEAN": 3}
# Kernels differ in their records: 12 unrolled GRU steps needed 99.6 % of the sum without it.
MARGIN = 0.05


@dataclass(frozen=True)
class Block:
    """A tensor that needs memory from its first operator to its last one."""

    size: int
    first: int
    last: int


def arena_bytes(tflite: bytes) -> int:
    """An upper bound of the arena, in bytes, with the runtime's reference kernels.

    Covers the tensors that are no constants, placed as the runtime's greedy planner places them by
    their lifetimes, the states of fused LSTMs, and the runtime's records per tensor, operator and
    quantized channel, while it runs and while it plans, and a margin. It leaves out what optimized
    kernels, such as CMSIS-NN's, ask for in addition.
    """
    model = flatbuffer.parse(tflite)
    total = PER_FILE + sum(_graph_bytes(model, graph) for graph in model.subgraphs)
    return _aligned(round((1.0 + MARGIN) * total))


def _graph_bytes(model: schema.ModelT, graph: schema.SubGraphT) -> int:
    planned = blocks(model, graph)
    names = [flatbuffer.operator_name(model, operator) for operator in graph.operators]
    planning = PLANNING_TENSOR * len(graph.tensors) + PLANNING_BLOCK * len(planned)
    planning += PLANNING_SCRATCH * sum(SCRATCHES.get(name, 0) for name in names)
    return max(plan(planned), planning) + _records(model, graph)


def plan(blocks: Sequence[Block]) -> int:
    """The memory that the blocks take when each is placed at the first address that is free."""
    starts = place(blocks)
    return max((start + block.size for start, block in zip(starts, blocks, strict=True)), default=0)


def place(blocks: Sequence[Block]) -> list[int]:
    """The address of each block, the first that is free, the largest blocks first."""
    placed: list[tuple[int, Block]] = []
    starts = [0] * len(blocks)
    for n in sorted(range(len(blocks)), key=lambda n: -blocks[n].size):
        block, start = blocks[n], 0
        for offset, neighbor in sorted(placed, key=lambda pair: pair[0]):
            overlap = block.first <= neighbor.last and neighbor.first <= block.last
            if overlap and start + block.size > offset:
                start = max(start, offset + neighbor.size)
        placed.append((start, block))
        starts[n] = start
    return starts


def blocks(model: schema.ModelT, graph: schema.SubGraphT) -> list[Block]:
    """The tensors to plan: those that an operator writes, and the subgraph's inputs."""
    last = len(graph.operators)
    lifetimes = {int(index): [0, 0] for index in graph.inputs}
    gates = []
    for number, operator in enumerate(graph.operators):
        for index in operator.outputs:
            lifetimes.setdefault(int(index), [number, number])
        for index in (int(n) for n in (*operator.inputs, *operator.outputs)):
            if index in lifetimes:
                lifetimes[index][1] = number
        if flatbuffer.operator_name(model, operator) == LSTM:
            # Four gates in the width of the cell state, while the operator runs.
            size = _size(graph.tensors[operator.inputs[C_STATE]])
            gates += [Block(size, number, number)] * 4
    for index in set(map(int, graph.outputs)) & set(lifetimes):  # others are constants
        lifetimes[index][1] = last
    planned = {n: span for n, span in lifetimes.items() if not graph.tensors[n].isVariable}
    return [Block(_size(graph.tensors[n]), *span) for n, span in planned.items()] + gates


def _records(model: schema.ModelT, graph: schema.SubGraphT) -> int:
    """Variables, and the runtime's records of tensors, operators and channels."""
    total = sum(_size(tensor) for tensor in graph.tensors if tensor.isVariable)
    total += PER_TENSOR * len(graph.tensors) + PER_OPERATOR * len(graph.operators)
    total += PER_END * (len(graph.inputs) + len(graph.outputs))
    for operator in graph.operators:
        name = flatbuffer.operator_name(model, operator)
        if name in CHANNELS_OF:
            scales = graph.tensors[operator.inputs[1]].quantization
            total += PER_CHANNEL * (0 if scales is None else len(scales.scale))
        elif name == LSTM:
            total += PER_LSTM
        elif name == "SOFTMAX":
            kind = graph.tensors[operator.inputs[0]].type
            total += PER_INT16_SOFTMAX * (kind == schema.TensorType.INT16)
    return total


def _size(tensor: schema.TensorT) -> int:
    """A tensor's bytes, aligned."""
    width = np.dtype(flatbuffer.type_name(tensor)).itemsize
    return _aligned(int(np.prod(tensor.shape)) * width)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
