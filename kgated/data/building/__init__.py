"""Builds data sets from recordings: augmentation, windows, classes, split, files."""
