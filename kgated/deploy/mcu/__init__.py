"""What a microcontroller needs of a file: operators it knows, memory it has, sources to compile."""

from kgated.deploy.mcu.arena import arena_bytes
from kgated.deploy.mcu.files import check_source_paths, source_files, source_paths
from kgated.deploy.mcu.operators import check_operators, with_known_operators
from kgated.deploy.mcu.source import Sources, sources

__all__ = [
    "Sources",
    "arena_bytes",
    "check_operators",
    "check_source_paths",
    "source_files",
    "source_paths",
    "sources",
    "with_known_operators",
]
