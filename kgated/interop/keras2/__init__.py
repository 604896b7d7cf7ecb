"""Loads models that Keras 2, TensorFlow 1.x or TensorFlow 2.x saved."""

# Saved `.keras` files name this package as the module of the function.
from kgated.interop.keras2.h5_file import keras2_hard_sigmoid, load_h5

__all__ = ["keras2_hard_sigmoid", "load_h5"]
