"""Converts between LSTM and GRU nodes of ONNX and layers of kgated."""
