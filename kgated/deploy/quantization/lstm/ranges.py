"""Ranges at a fused LSTM operator while a float file runs over samples."""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from kgated.deploy.quantization.lstm.weights import Graph
from kgated.deploy.quantization.ranges.calibration import tensor_preserving_interpreter
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.cleanup import eliminate_dead_code
from kgated.deploy.tflite.float_file import FloatFile
from kgated.deploy.tflite.layer_table import LayerTable
from kgated.deploy.tflite.lstm_operator import C_STATE, H_STATE

Samples = Iterable[Mapping[str, np.ndarray]]


@dataclass
class LstmRanges:
    """Smallest and largest values, zero among them, over every sample and time step.

    Attributes:
        x: of the operator's input.
        h: of its output.
        c: of its cell state.
    """

    x: tuple[float, float] = (0.0, 0.0)
    h: tuple[float, float] = (0.0, 0.0)
    c: tuple[float, float] = (0.0, 0.0)

    def observe(self, name: str, values: np.ndarray) -> None:
        """Widen a range to hold the values."""
        low, high = getattr(self, name)
        setattr(self, name, (min(low, float(values.min())), max(high, float(values.max()))))


def fused_ranges(file: FloatFile, samples: Samples) -> dict[str, LstmRanges]:
    """The ranges of each fused LSTM of a float file, by the operator's name.

    The cell state is no output of the operator, so each operator is run again on its own, frame by
    frame, over the inputs that reached it.

    Args:
        file: a float file after `write_fused`, with one subgraph.
        samples: inputs of its signature, by name.
    """
    graph = _main(file.model, file.layers)
    inputs = {int(operator.inputs[0]) for operator in graph.fused()}
    arrays = _record(file.content, inputs, samples)
    ranges: dict[str, LstmRanges] = {}
    for number, operator in enumerate(graph.fused()):
        ranges[graph.name(operator)] = _observe(file, number, arrays[int(operator.inputs[0])])
    return ranges


def _main(model: schema.ModelT, layers: LayerTable) -> Graph:
    return Graph(model, model.subgraphs[0], layers)


def _record(tflite: bytes, tensors: set[int], samples: Samples) -> dict[int, list[np.ndarray]]:
    """The values of tensors of the file, one array per sample."""
    arrays: dict[int, list[np.ndarray]] = {index: [] for index in tensors}
    interpreter, run = tensor_preserving_interpreter(tflite)
    for sample in samples:
        run(**sample)
        for index in tensors:
            arrays[index].append(np.array(interpreter.get_tensor(index)))
    return arrays


def _observe(file: FloatFile, number: int, sequences: list[np.ndarray]) -> LstmRanges:
    """Run one fused operator frame by frame, its state carried, over sequences (B, T, F)."""
    ranges, graph = LstmRanges(), _main(flatbuffer.clone(file.model), file.layers)
    content, states = _single(graph, graph.fused()[number])
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    x = interpreter.get_input_details()[0]["index"]
    for sequence in sequences:
        interpreter.reset_all_variables()
        ranges.observe("x", sequence)
        for frame in np.split(sequence, sequence.shape[1], axis=1):
            interpreter.set_tensor(x, frame)
            interpreter.invoke()
            for name, index in states.items():
                ranges.observe(name, interpreter.get_tensor(index))
    return ranges


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
    eliminate_dead_code(model)
    places = [tensor.name for tensor in subgraph.tensors]
    return flatbuffer.pack(model), {which: places.index(name) for which, name in names.items()}


STATES = {"h": H_STATE, "c": C_STATE}
