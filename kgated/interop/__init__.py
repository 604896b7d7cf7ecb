"""Weights from other libraries into our layers and back, exactly.

Arrays at the seam are NumPy's, so neither PyTorch nor ONNX nor TensorFlow Addons is imported here;
ONNX is, by the functions that read and write its messages. A round trip returns the same bits, but
for what a library keeps in two tensors and we in one: the two biases of an LSTM become their sum.
"""

from kgated.interop.keras import from_keras, to_keras
from kgated.interop.keras2 import load_h5
from kgated.interop.onnx_read import OnnxLayer, from_onnx, from_onnx_node
from kgated.interop.onnx_write import to_onnx
from kgated.interop.tfa import from_tfa, to_tfa
from kgated.interop.torch import from_torch, to_torch

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
