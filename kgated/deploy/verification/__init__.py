"""Verifies a file: runs it on sequences and compares it with the Keras model."""
