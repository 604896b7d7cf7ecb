"""Pruning, clustering and quantization-aware training."""

from kgated.optimize.clustering import SharedValues, cluster
from kgated.optimize.pruning import Pruning, prune
from kgated.optimize.qat import QuantizeAware, quantize_aware
from kgated.optimize.schedules import ConstantSparsity, PolynomialDecay, Schedule
from kgated.optimize.weights import sparsity

__all__ = [
    "ConstantSparsity",
    "PolynomialDecay",
    "Pruning",
    "QuantizeAware",
    "Schedule",
    "SharedValues",
    "cluster",
    "prune",
    "quantize_aware",
    "sparsity",
]
