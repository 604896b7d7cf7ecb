"""Quantization-aware training: rounding as the device does it, ranges that are learned."""

from kgated.optimize.qat.model import QuantizeAware, quantize_aware

__all__ = ["QuantizeAware", "quantize_aware"]
