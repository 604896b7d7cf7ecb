"""Frames out of pipes, files and sound."""
