"""A float `.tflite` file becomes a quantized one."""
