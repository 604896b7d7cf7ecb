"""Runs a file: frames in, results out, states kept."""
