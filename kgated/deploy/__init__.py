"""Converts Keras models to `.tflite` files of builtin operators, with manifest and self-test."""

from kgated.deploy.convert import to_tflite
from kgated.deploy.metadata import Conversion
from kgated.deploy.recipe import Recipe

__all__ = ["Conversion", "Recipe", "to_tflite"]
