"""LSTM layers as one builtin operator of the file: in float, with smaller weights, or in int8.

`FusedLSTM(layer)` stands in the layer's place while the graph is built, `write_fused` comes right
after the conversion; then `write_half` or `write_hybrid`, or the quantizer and `write_integer` with
what `fused_ranges` saw.
"""

from kgated.deploy.fused.integer import write_integer
from kgated.deploy.fused.layer import FusedLSTM, check_fusable, check_whole
from kgated.deploy.fused.operator import write_fused
from kgated.deploy.fused.ranges import Ranges, fused_ranges
from kgated.deploy.fused.weights import has_fused, layer_of, write_half, write_hybrid

__all__ = [
    "FusedLSTM",
    "Ranges",
    "check_fusable",
    "check_whole",
    "fused_ranges",
    "has_fused",
    "layer_of",
    "write_fused",
    "write_half",
    "write_hybrid",
    "write_integer",
]
