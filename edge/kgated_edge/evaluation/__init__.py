"""Accuracy, limits and results of a file on a data set."""
