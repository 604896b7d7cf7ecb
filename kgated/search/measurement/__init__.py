"""A `.tflite` file of each model, and its size, step time and accuracy on the device."""
