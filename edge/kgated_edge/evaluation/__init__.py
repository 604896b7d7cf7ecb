"""Measures quality and speed of a model on a data set, against limits."""
