"""Watches a model in the field: its input, its state, its results."""
