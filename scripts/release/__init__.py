"""Builds both distributions: the same bytes from the same sources, with a bill of materials."""
