"""Text to ids and back, and text that a language model continues."""

from kgated_edge.text.encode import decode, encode, encode_all
from kgated_edge.text.generate import generate
from kgated_edge.text.sampling import sample

__all__ = ["decode", "encode", "encode_all", "generate", "sample"]
