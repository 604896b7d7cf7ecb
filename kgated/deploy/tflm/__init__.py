"""TensorFlow Lite Micro (TFLM): supported operators, arena size and generated C++ sources."""

from kgated.deploy.tflm.arena import arena_bytes
from kgated.deploy.tflm.codegen import (
    Sources,
    check_source_paths,
    source_files,
    source_paths,
    sources,
)
from kgated.deploy.tflm.operators import check_operators
from kgated.deploy.tflm.rewrites import use_known_operators

__all__ = [
    "Sources",
    "arena_bytes",
    "check_operators",
    "check_source_paths",
    "source_files",
    "source_paths",
    "sources",
    "use_known_operators",
]
