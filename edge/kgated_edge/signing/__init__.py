"""Signed model files: the check of a signature, and the versions that a device has run."""
