"""Runs a model file on frames and keeps its state."""
