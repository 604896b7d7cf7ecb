"""What values meet a fused LSTM operator while a float file runs over samples."""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from kgated.deploy.quantization.calibration import recorder
from kgated.deploy.quantization.lstm.weights import Graph
from kgated.deploy.tflite.cleanup import drop_unused
from kgated.deploy.tflite.flatbuffer import pack, parse
from kgated.deploy.tflite.lstm_operator import C_STATE, H_STATE

Samples = Iterable[Mapping[str, np.ndarray]]


@dataclass
class Ranges:
    """Smallest and largest values, zero among them, over every sample and time step.

    Attributes:
        x: of the operator's input.
        h: of its output.
        c: of its cell state.
    """

    x: tuple[float, float] = (0.0, 0.0)
    h: tuple[float, float] = (0.0, 0.0)
    c: tuple[float, float] = (0.0, 0.0)

    def see(self, name: str, values: np.ndarray) -> None:
        """Widen a range to hold the values."""
        low, high = getattr(self, name)
        setattr(self, name, (min(low, float(values.min())), max(high, float(values.max()))))


def fused_ranges(tflite: bytes, samples: Samples) -> dict[str, Ranges]:
    """The ranges of each fused LSTM of a float file, by the operator's name.

    The cell state is no output of the operator, so each operator is run again on its own, frame by
    frame, over the inputs that reached it.

    Args:
        tflite: a float file from `write_fused`, with one subgraph.
        samples: inputs of its signature, by name.
    """
    graph = _first(tflite)
    inputs = {int(one.inputs[0]) for one in graph.fused()}
    seen = _recorded(tflite, inputs, samples)
    found: dict[str, Ranges] = {}
    for number, operator in enumerate(graph.fused()):
        found[graph.name(operator)] = ranges = Ranges()
        _widen(ranges, tflite, number, seen[int(operator.inputs[0])])
    return found


def _first(tflite: bytes) -> Graph:
    model = parse(tflite)
    return Graph(model, model.subgraphs[0])


def _recorded(tflite: bytes, tensors: set[int], samples: Samples) -> dict[int, list[np.ndarray]]:
    """The values of tensors of the file, one array per sample."""
    seen: dict[int, list[np.ndarray]] = {index: [] for index in tensors}
    interpreter, run = recorder(tflite)
    for sample in samples:
        run(**sample)
        for index in tensors:
            seen[index].append(np.array(interpreter.get_tensor(index)))
    return seen


def _widen(ranges: Ranges, tflite: bytes, number: int, sequences: list[np.ndarray]) -> None:
    """Run one fused operator frame by frame, its state kept, over sequences (B, T, F)."""
    graph = _first(tflite)
    operator = graph.fused()[number]
    content, states = _single(graph, operator)
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    x = interpreter.get_input_details()[0]["index"]
    for sequence in sequences:
        interpreter.reset_all_variables()
        ranges.see("x", sequence)
        for frame in np.split(sequence, sequence.shape[1], axis=1):
            interpreter.set_tensor(x, frame)
            interpreter.invoke()
            for name, index in states.items():
                ranges.see(name, interpreter.get_tensor(index))


def _single(graph: Graph, operator: schema.OperatorT) -> tuple[bytes, dict[str, int]]:
    """A file of one operator over one frame, and where its states are."""
    model, subgraph = graph.model, graph.graph
    for index in (operator.inputs[0], operator.outputs[0]):
        tensor = copy.copy(graph.tensors[index])
        tensor.shape, tensor.shapeSignature = [tensor.shape[0], 1, tensor.shape[2]], None
        graph.tensors[index] = tensor
    names = {which: graph.tensors[operator.inputs[slot]].name for which, slot in STATES.items()}
    subgraph.operators = [operator]
    subgraph.inputs, subgraph.outputs = [operator.inputs[0]], [operator.outputs[0]]
    model.signatureDefs = None
    drop_unused(model)
    places = [tensor.name for tensor in subgraph.tensors]
    return pack(model), {which: places.index(name) for which, name in names.items()}


STATES = {"h": H_STATE, "c": C_STATE}
