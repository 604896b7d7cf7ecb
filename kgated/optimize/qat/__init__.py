"""Quantization-aware training: fake quantization with learned ranges."""

from kgated.optimize.qat.model import QuantizeAware, quantize_aware

__all__ = ["QuantizeAware", "quantize_aware"]
