"""ncnn, from files that are written here: it has no reader for ONNX in Python."""

import struct
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import ncnn
import numpy as np

_LSTM_ORDER, _GRU_ORDER = (0, 1, 3, 2), (1, 0, 2)  # ncnn's i f o g and r u n, of Keras's


def version() -> str:
    """The engine's version."""
    return metadata.version("ncnn")


def open_model(spec: dict[str, Any]) -> Any:
    """The layer from the arrays of a Keras layer; one sequence at a time."""
    if spec["cell"] == "PeepholeLSTM":
        raise NotImplementedError("ncnn has no LSTM with peepholes")
    if spec["precision"] == "int8":
        raise NotImplementedError("its tool ncnn2int8 is not in the package")
    if spec["batch"] > 1:
        raise NotImplementedError("its recurrent layers take one sequence")
    arrays = list(np.load(spec["weights"]).values())
    kind = "GRU" if spec["cell"] == "GRU" else "LSTM"
    count = 1 if kind == "GRU" else 2
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name) / "m"
    _write_parameters(path, kind, spec, arrays[0].size)
    _write_weights(path, kind, arrays)
    net = ncnn.Net()
    net.opt.num_threads = 1
    net.load_param(f"{path}.param")
    net.load_model(f"{path}.bin")

    def call(x: np.ndarray, states: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        _ = folder  # the files live as long as the function
        extractor = net.create_extractor()
        extractor.input("x", ncnn.Mat(x[:, 0]))
        for n in range(count):
            extractor.input(f"s{n}", ncnn.Mat(states[n][0]))
        y = np.array(extractor.extract("y")[1])[:, None]
        after = [np.array(extractor.extract(f"t{n}")[1]).reshape(1, 1, -1) for n in range(count)]
        return y, after

    return call


def _write_parameters(path: Path, kind: str, spec: dict[str, Any], size: int) -> None:
    states = range(1 if kind == "GRU" else 2)
    sources, targets = (" ".join(f"{letter}{n}" for n in states) for letter in "st")
    count = len(states) + 1
    lines = ["7767517", f"{count + 1} {2 * count}", "Input x 0 1 x"]
    lines += [f"Input s{n} 0 1 s{n}" for n in states]
    options = f"0={spec['units']} 1={size} 2=0"
    lines += [f"{kind} cell {count} {count} x {sources} y {targets} {options}"]
    Path(f"{path}.param").write_text("\n".join(lines) + "\n")


def _write_weights(path: Path, kind: str, arrays: list[np.ndarray]) -> None:
    """Each array after a tag of 4 bytes for float32."""
    kernel, recurrent, bias = arrays[:3]
    order = _GRU_ORDER if kind == "GRU" else _LSTM_ORDER

    def gates(array: np.ndarray) -> list[np.ndarray]:
        parts = np.split(array, len(order), -1)
        return [parts[n] for n in order]

    if kind == "GRU":
        (r, u, n), (hr, hu, hn) = gates(bias[0]), gates(bias[1])
        biases = np.stack([r + hr, u + hu, n, hn])
    else:
        biases = np.stack(gates(bias))
    kernels = [np.concatenate([part.T for part in gates(array)]) for array in (kernel, recurrent)]
    tag = struct.pack("<i", 0)
    blocks = [kernels[0], biases, kernels[1]]
    content = b"".join(tag + np.ascontiguousarray(x, np.float32).tobytes() for x in blocks)
    Path(f"{path}.bin").write_bytes(content)
