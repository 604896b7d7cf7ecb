"""Files in TensorFlow Lite Micro and in LiteRT, from the same integers."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from kgated_edge import open_model

from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflm import arena_bytes
from kgated.deploy.tflm.arena import ALIGNMENT
from kgated.deploy.tflm.ports import Port, Ports

Arrays = list[np.ndarray]
Invoke = Callable[[Arrays], Arrays]  # the graph's inputs to its outputs, integers
SPARE_BYTES = 4096  # above the bound, which the tests of the arena check


def micro(content: bytes, arena: int | None = None) -> Invoke:
    """The file in the package `tflite-micro`."""
    from tflite_micro.python.tflite_micro import runtime

    size = arena_bytes(content) + SPARE_BYTES if arena is None else arena
    interpreter = runtime.Interpreter.from_bytes(content, arena_size=size)
    outputs = len(flatbuffer.main_graph(flatbuffer.parse(content)).outputs)

    def invoke(inputs: Arrays) -> Arrays:
        for n, values in enumerate(inputs):
            interpreter.set_input(values, n)
        interpreter.invoke()
        return [np.array(interpreter.get_output(n)) for n in range(outputs)]

    return invoke


def litert(content: bytes, **options: Any) -> Invoke:
    """The file in LiteRT, with XNNPACK's kernels unless the options say otherwise."""
    interpreter = Interpreter(model_content=content, num_threads=1, **options)
    interpreter.allocate_tensors()
    into, out = interpreter.get_input_details(), interpreter.get_output_details()

    def invoke(inputs: Arrays) -> Arrays:
        for details, values in zip(into, inputs, strict=True):
            interpreter.set_tensor(details["index"], values)
        interpreter.invoke()
        return [np.array(interpreter.get_tensor(details["index"])) for details in out]

    return invoke


def run(invoke: Invoke, ports: Ports, calls: Iterable[Mapping[str, Any]]) -> list[Arrays]:
    """The outputs of each call, in the order of `ports.outputs`; states are carried along."""
    states = [_filled(port) for port in ports.states]
    results = []
    for call in calls:
        inputs = [np.zeros(0)] * (len(ports.inputs) + len(states))
        for port in ports.inputs:
            inputs[port.input_index] = _quantized(port, call[port.key])
        for port, values in zip(ports.states, states, strict=True):
            inputs[port.input_index] = values
        outputs = invoke(inputs)
        states = [outputs[port.output_index] for port in ports.states]
        results.append([outputs[port.output_index] for port in ports.outputs])
    return results


def steps_apart(path: Path, frames: Iterable[Any], arena: int | None = None) -> int:
    """The largest difference of the two runtimes, in integers of an output.

    Args:
        path: a file of `target="mcu"` with one input.
        frames: the input of each call.
        arena: bytes for TensorFlow Lite Micro. None: more than the bound.
    """
    content, manifest = path.read_bytes(), open_model(path).manifest
    ports = Ports.of(content, manifest)
    (port,) = ports.inputs
    calls = [{port.key: frame} for frame in frames]
    results = (run(invoke, ports, calls) for invoke in (micro(content, arena), litert(content)))
    pairs = zip(*results, strict=True)
    return max(
        int(np.abs(a.astype(int) - b.astype(int)).max())
        for left, right in pairs
        for a, b in zip(left, right, strict=True)
    )


def smallest_arena(content: bytes) -> int:
    """The smallest arena in bytes, a multiple of 16, that TensorFlow Lite Micro accepts."""
    too_small, enough = 0, arena_bytes(content)
    while enough - too_small > ALIGNMENT:
        size = (too_small + enough) // 2 // ALIGNMENT * ALIGNMENT
        try:
            micro(content, size)
            enough = size
        except RuntimeError:
            too_small = size
    return enough


def operators_of(path: Path) -> Counter[str]:
    """Operator to the number of its occurrences in a file."""
    model = flatbuffer.parse(path.read_bytes())
    return Counter(flatbuffer.operator_name(model, o) for _, o in flatbuffer.operators(model))


def longest_path(path: Path) -> int:
    """The maximum number of operators in series from an input or state to an output or state."""
    graph = flatbuffer.main_graph(flatbuffer.parse(path.read_bytes()))
    depth: dict[int, int] = {}
    for operator in graph.operators:
        before = max((depth.get(int(n), 0) for n in operator.inputs), default=0)
        depth.update({int(n): before + 1 for n in operator.outputs})
    return max(depth[int(n)] for n in graph.outputs if int(n) in depth)


def _filled(port: Port) -> np.ndarray:
    dtype = flatbuffer.type_name(port.tensor)
    return np.full(tuple(port.tensor.shape), port.scale_and_zero_point[1], dtype)


def _quantized(port: Port, values: Any) -> np.ndarray:
    shape, dtype = tuple(port.tensor.shape), np.dtype(flatbuffer.type_name(port.tensor))
    if flatbuffer.scale_and_zero_point(port.tensor) is None:  # such as tokens
        return np.reshape(np.asarray(values, dtype), shape)
    (scale, zero_point), limits = port.scale_and_zero_point, np.iinfo(dtype)
    integers = np.rint(np.asarray(values) / scale + zero_point)
    return np.clip(integers, limits.min, limits.max).astype(dtype).reshape(shape)
