"""Models that begin with text: what is cut off, and the vocabulary in its place."""
