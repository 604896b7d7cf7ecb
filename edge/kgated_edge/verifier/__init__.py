"""Checks a graph before an interpreter reads it."""
