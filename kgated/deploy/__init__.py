"""From Keras to the device: one `.tflite` file of builtin ops with its contract and self-test."""

from kgated.deploy.convert import to_tflite
from kgated.deploy.metadata import Conversion
from kgated.deploy.recipe import Recipe

__all__ = ["Conversion", "Recipe", "to_tflite"]
