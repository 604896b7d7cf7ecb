"""Frames from pipes, files and audio."""
