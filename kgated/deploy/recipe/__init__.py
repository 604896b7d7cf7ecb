"""Recipes of conversions: quantizations, and the options that exclude each other."""

from kgated.deploy.recipe.definition import (
    CALIBRATION_METHODS,
    LOWERINGS,
    MODES,
    RESULTS,
    SESSION_STEP,
    STATES,
    TARGETS,
    Recipe,
    load_recipe,
    save_recipe,
)
from kgated.deploy.recipe.quantizations import QUANTIZATIONS, Quantization

__all__ = [
    "CALIBRATION_METHODS",
    "LOWERINGS",
    "MODES",
    "QUANTIZATIONS",
    "RESULTS",
    "SESSION_STEP",
    "STATES",
    "TARGETS",
    "Quantization",
    "Recipe",
    "load_recipe",
    "save_recipe",
]
