"""Scales and zero points: those that tensors share, those of biases, and proofs of them."""
