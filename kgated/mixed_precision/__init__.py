"""Mixed precision: the sensitivity of each layer, and a recipe within a limit of accuracy loss."""

from kgated.mixed_precision.compare import cross_check, sensitivity_table, table
from kgated.mixed_precision.evaluate import Judge, Trial
from kgated.mixed_precision.search import (
    Mixed,
    Sensitivity,
    check_wanted,
    find,
    mixed_recipe,
    sensitivity,
)

__all__ = [
    "Judge",
    "Mixed",
    "Sensitivity",
    "Trial",
    "check_wanted",
    "cross_check",
    "find",
    "mixed_recipe",
    "sensitivity",
    "sensitivity_table",
    "table",
]
