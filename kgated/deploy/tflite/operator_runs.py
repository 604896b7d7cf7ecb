"""Runs a file operator by operator, to tell after a crash which one ends the process.

An interpreter runs all operators in one native call, and an abort in a kernel says nothing of where
it was. Here each operator is a file of its own, run on what those before it wrote; its name and its
layer are noted down first.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.layer_table import LayerTable
from kgated_worker import begin

SUSPECT = "suspect.tflite"
Values = dict[int, np.ndarray]


def locate_job(name: str) -> None:
    """A job of the worker: run `SUSPECT` in a folder until an operator ends the process.

    The folder may have `samples.npz`, inputs by name with a first axis of samples, and `job.json`
    with the layer table; without them the inputs are zeros, and the layers those of the names.
    """
    folder = Path(name)
    model = flatbuffer.parse((folder / SUSPECT).read_bytes())
    job, samples = folder / "job.json", folder / "samples.npz"
    table = LayerTable.from_names(model)
    if job.is_file():
        table = LayerTable(json.loads(job.read_text())["layers"])
    arrays = {}
    if samples.is_file():
        with np.load(samples) as archive:
            arrays = {key: archive[key][0] for key in archive.files}
    run_by_operator(model, arrays, table)


def run_by_operator(
    model: schema.ModelT, arrays: dict[str, np.ndarray], layers: LayerTable
) -> None:
    """Run the main signature of a file, each operator by itself.

    Args:
        model: the file.
        arrays: its inputs by name, float32 where they are quantized; zeros where one is absent.
        layers: which layer each operator comes from.
    """
    graph, values = flatbuffer.main_graph(model), Values()
    for entry in flatbuffer.main_signature(model).inputs:
        tensor = graph.tensors[entry.tensorIndex]
        values[entry.tensorIndex] = _stored(arrays.get(entry.name.decode()), tensor)
    _run_graph(model, graph, values, layers)


def _run_graph(
    model: schema.ModelT, graph: schema.SubGraphT, values: Values, layers: LayerTable
) -> None:
    for operator in graph.operators:
        name, layer = flatbuffer.operator_name(model, operator), _layer(graph, operator, layers)
        if name == "WHILE":
            body = model.subgraphs[operator.builtinOptions.bodySubgraphIndex]
            inputs = [_value(model, graph, values, n) for n in operator.inputs]
            _run_graph(model, body, dict(zip(map(int, body.inputs), inputs, strict=True)), layers)
        begin(f"operator {name}" + (f" of layer `{layer}`" if layer else ""))
        values |= _run_one(model, graph, operator, values)


def _layer(graph: schema.SubGraphT, operator: schema.OperatorT, layers: LayerTable) -> str:
    """The operator's layer; a finished file has its name alone as the name of a result."""
    names = (flatbuffer.tensor_name(graph.tensors[n]) for n in operator.outputs)
    results = [name for name in names if "PartitionedCall" not in name]  # of the converter
    return layers.layer(graph, operator) or next((x.split("/")[0] for x in results), "")


def _run_one(
    model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT, values: Values
) -> Values:
    """The results of an operator, by tensor."""
    inputs = list(dict.fromkeys(int(n) for n in operator.inputs if int(n) in values))
    outputs = list(dict.fromkeys(map(int, operator.outputs)))
    interpreter = Interpreter(model_content=_file_of(model, graph, operator, inputs, outputs))
    interpreter.allocate_tensors()
    for details, n in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(details["index"], values[n])
    interpreter.invoke()
    details = interpreter.get_output_details()
    return {n: interpreter.get_tensor(d["index"]) for n, d in zip(outputs, details, strict=True)}


def _file_of(
    model: schema.ModelT,
    graph: schema.SubGraphT,
    operator: schema.OperatorT,
    inputs: list[int],
    outputs: list[int],
) -> bytes:
    """The operator as a file, with the tensors that it needs; a loop brings all subgraphs along."""
    used = sorted({int(n) for n in (*operator.inputs, *operator.outputs) if n >= 0})
    place = {n: k for k, n in enumerate(used)} | {-1: -1}
    single = schema.OperatorT(**vars(operator))
    single.inputs = np.array([place[int(n)] for n in operator.inputs], np.int32)
    single.outputs = np.array([place[int(n)] for n in operator.outputs], np.int32)
    subgraph = schema.SubGraphT(
        tensors=[graph.tensors[n] for n in used],
        inputs=np.array([place[n] for n in inputs], np.int32),
        outputs=np.array([place[n] for n in outputs], np.int32),
        operators=[single],
    )
    return flatbuffer.pack(
        schema.ModelT(
            version=model.version,
            operatorCodes=model.operatorCodes,
            subgraphs=[subgraph, *model.subgraphs[1:]],
            buffers=model.buffers,
        )
    )


def _value(model: schema.ModelT, graph: schema.SubGraphT, values: Values, n: int) -> np.ndarray:
    """A tensor's value, which may be a constant."""
    if int(n) in values:
        return values[int(n)]
    tensor = graph.tensors[n]
    data = bytes(model.buffers[tensor.buffer].data)
    return np.frombuffer(data, flatbuffer.type_name(tensor)).reshape(tensor.shape)


def _stored(array: Any, tensor: schema.TensorT) -> np.ndarray:
    """An input in the tensor's own type; zeros where there is none."""
    dtype = np.dtype(flatbuffer.type_name(tensor))
    if array is None:
        return np.zeros(tensor.shape, dtype)
    parameters = flatbuffer.scale_and_zero_point(tensor)
    if parameters is None or array.dtype == dtype:
        return np.asarray(array, dtype)
    scale, zero_point = parameters
    limits = np.iinfo(dtype)
    return np.clip(np.rint(array / scale) + zero_point, limits.min, limits.max).astype(dtype)
