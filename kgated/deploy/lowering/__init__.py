"""Lowers a Keras graph to a float `.tflite` file."""
