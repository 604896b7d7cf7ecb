"""Exact conversion of weights between other libraries and kgated's layers.

Weights are exchanged as NumPy arrays, so this package imports neither PyTorch nor TensorFlow
Addons. The functions that read and write ONNX models import onnx when they are called. A round trip
returns the same bits, with one exception: the two biases of an LSTM become their sum.
"""

from kgated.interop.keras import from_keras, to_keras
from kgated.interop.keras2 import load_h5
from kgated.interop.onnx.read import OnnxLayer, from_onnx, from_onnx_node
from kgated.interop.onnx.write import to_onnx
from kgated.interop.tfa import from_tfa, to_tfa
from kgated.interop.torch.convert import from_torch, to_torch

__all__ = [
    "OnnxLayer",
    "from_keras",
    "from_onnx",
    "from_onnx_node",
    "from_tfa",
    "from_torch",
    "load_h5",
    "to_keras",
    "to_onnx",
    "to_tfa",
    "to_torch",
]
