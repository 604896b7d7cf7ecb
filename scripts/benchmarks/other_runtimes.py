"""The same layer in other runtimes: ONNX Runtime, PyTorch, a plain `.tflite` file."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from ai_edge_litert.interpreter import Interpreter
from onnxruntime.quantization import QuantType, quantize_dynamic

import kgated
from benchmarks.timing import Run
from kgated.interop import to_onnx, to_torch


def onnx_files(layer: Any, folder: Path) -> dict[str, Path]:
    """The layer as ONNX models, "float" and "int8", whose states are inputs."""
    paths = {name: folder / f"{name}.onnx" for name in ("float", "int8")}
    onnx.save(to_onnx(layer, state_inputs=True), paths["float"])
    quantize_dynamic(paths["float"], paths["int8"], weight_type=QuantType.QInt8)
    return paths


def onnx_step(path: Path, layer: Any, frame: np.ndarray) -> Run:
    """An ONNX Runtime session that runs one frame (F,) per call; the caller carries the state."""
    session, feed = _session(path), _feed(layer, frame[None])
    outputs = ["Y_h", "Y_c"][: len(feed) - 1]
    names = [name for name in feed if name != "X"]

    def step() -> Any:
        results = session.run(outputs, feed)
        feed.update(zip(names, results, strict=True))
        return results[0]

    return step


def onnx_sequence(path: Path, layer: Any, frames: np.ndarray) -> Run:
    """ONNX Runtime over frames (T, F) in one call, from zero states; all outputs, or the last."""
    session, feed = _session(path), _feed(layer, frames)
    outputs = ["Y" if layer.return_sequences else "Y_h"]
    return lambda: session.run(outputs, feed)[0]


def _session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])


def _feed(layer: Any, frames: np.ndarray) -> dict[str, np.ndarray]:
    states = ["initial_h", "initial_c"][: len(layer.state_size)]
    zeros = np.zeros((1, 1, layer.units), np.float32)
    return {"X": frames[:, None], **dict.fromkeys(states, zeros)}


def torch_kind(layer: Any) -> Any:
    """A layer of the same size that PyTorch has: without peepholes, a GRU with `reset_after`."""
    if type(layer) is kgated.LSTM:
        return layer
    units, sequences = layer.units, layer.return_sequences
    if isinstance(layer, kgated.GRU):
        counterpart: Any = kgated.GRU(units, return_sequences=sequences, reset_after=True)
    else:
        counterpart = kgated.LSTM(units, return_sequences=sequences)
    counterpart.build((None, None, layer.cell.kernel.shape[0]))
    return counterpart


def torch_module(layer: Any) -> Any:
    """PyTorch's module with the weights of `torch_kind(layer)`."""
    torch.set_num_threads(1)
    kind = "GRU" if isinstance(layer, kgated.GRU) else "LSTM"
    arrays = to_torch(layer)
    features = arrays["weight_ih_l0"].shape[1]
    module = getattr(torch.nn, kind)(features, layer.units, batch_first=True)
    module.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    return module.eval()


def torch_step(layer: Any, frame: np.ndarray) -> Run:
    """A PyTorch layer that runs one frame (F,) per call; the caller carries the state."""
    module, x, state = torch_module(layer), torch.from_numpy(frame[None, None]), [None]

    def step() -> Any:
        with torch.inference_mode():
            result, state[0] = module(x, state[0])
        return result[0, 0].numpy()

    return step


def torch_sequence(layer: Any, frames: np.ndarray) -> Run:
    """PyTorch over frames (T, F) in one call, from zero states; all outputs, or the last."""
    module, x = torch_module(layer), torch.from_numpy(frames[None])
    rows = slice(None) if layer.return_sequences else -1

    def run() -> Any:
        with torch.inference_mode():
            return module(x)[0][0, rows].numpy()

    return run


def tflite_run(path: Path, x: np.ndarray) -> Run:
    """A plain file with one input and one output; x has the file's shape."""
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    (source,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run() -> Any:
        interpreter.set_tensor(source["index"], x)
        interpreter.invoke()
        return interpreter.get_tensor(result["index"])

    return run
