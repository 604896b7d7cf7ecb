"""Quantizes a float `.tflite` file."""
