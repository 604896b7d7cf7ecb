"""PyTorch: float, and dynamic int8."""

from typing import Any

import numpy as np
import torch

_LSTM_ORDER, _GRU_ORDER = (0, 1, 2, 3), (1, 0, 2)  # of Keras's i f g o and z r h


def version() -> str:
    """The engine's version."""
    return str(torch.__version__)


def open_model(spec: dict[str, Any]) -> Any:
    """The layer from the arrays of a Keras layer."""
    if spec["cell"] == "PeepholeLSTM":
        raise NotImplementedError("PyTorch has no LSTM with peepholes")
    torch.set_num_threads(1)
    arrays = list(np.load(spec["weights"]).values())
    kind, order = ("GRU", _GRU_ORDER) if spec["cell"] == "GRU" else ("LSTM", _LSTM_ORDER)
    module = getattr(torch.nn, kind)(spec["features"], spec["units"])
    with torch.no_grad():
        for name, array in _parameters(arrays, order).items():
            getattr(module, name).copy_(torch.from_numpy(array))
    module = module.eval()
    if spec["precision"] == "int8":
        kinds = {torch.nn.LSTM, torch.nn.GRU}
        quantize: Any = torch.ao.quantization.quantize_dynamic
        module = quantize(torch.nn.Sequential(module), kinds, dtype=torch.qint8)[0]

    def call(x: np.ndarray, states: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        tensors = [torch.from_numpy(state) for state in states]
        with torch.inference_mode():
            y, after = module(torch.from_numpy(x), tensors[0] if kind == "GRU" else tuple(tensors))
        after = [after] if kind == "GRU" else list(after)
        return y.numpy(), [state.numpy() for state in after]

    return call


def _parameters(arrays: list[np.ndarray], order: tuple[int, ...]) -> dict[str, np.ndarray]:
    """PyTorch's arrays from Keras's kernel, recurrent kernel and bias."""
    kernel, recurrent, bias = arrays[:3]
    biases = bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])

    def ordered(array: np.ndarray) -> np.ndarray:
        parts = np.split(array, len(order), -1)
        return np.ascontiguousarray(np.concatenate([parts[n] for n in order], -1).T)

    return {
        "weight_ih_l0": ordered(kernel),
        "weight_hh_l0": ordered(recurrent),
        "bias_ih_l0": ordered(biases[0]),
        "bias_hh_l0": ordered(biases[1]),
    }
