"""Text to ids and back, and text that a language model continues."""

from kgated_edge.text.build import build_vocabulary, read_vocabulary
from kgated_edge.text.codec import decode, encode, encode_all
from kgated_edge.text.generation import generate
from kgated_edge.text.sampling import sample

__all__ = [
    "build_vocabulary",
    "decode",
    "encode",
    "encode_all",
    "generate",
    "read_vocabulary",
    "sample",
]
