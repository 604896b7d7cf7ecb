"""TensorFlow Lite Micro (TFLM): supported operators, arena size and generated C++ sources."""

from kgated.deploy.tflm.arena import arena_bytes
from kgated.deploy.tflm.codegen import (
    Sources,
    source_files,
    source_paths,
    sources,
)
from kgated.deploy.tflm.operators import check_operators
from kgated.deploy.tflm.rewrites import use_known_operators
from kgated.deploy.tflm.templates import MARK

__all__ = [
    "MARK",
    "Sources",
    "arena_bytes",
    "check_operators",
    "source_files",
    "source_paths",
    "sources",
    "use_known_operators",
]
