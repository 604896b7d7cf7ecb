"""A `.tflite` file as objects: read, looked up by layer, cleaned up, written."""
