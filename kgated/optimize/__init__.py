"""Smaller models: weights pruned to zero, weights that share a few values."""

from kgated.optimize.clustering import SharedValues, cluster
from kgated.optimize.pruning import Pruning, prune
from kgated.optimize.schedules import ConstantSparsity, PolynomialDecay, Schedule
from kgated.optimize.weights import sparsity

__all__ = [
    "ConstantSparsity",
    "PolynomialDecay",
    "Pruning",
    "Schedule",
    "SharedValues",
    "cluster",
    "prune",
    "sparsity",
]
