"""A Keras graph becomes a float `.tflite` file."""
