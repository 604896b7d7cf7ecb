"""Converts between layers of PyTorch and layers of kgated and Keras."""
