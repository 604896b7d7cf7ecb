"""The options of a conversion, and the manifest that is built from them."""

from kgated.deploy.metadata.conversion import Conversion
from kgated.deploy.metadata.manifest import (
    build_manifest,
    check_recipe,
    frames_of,
    results_of,
)
from kgated.deploy.metadata.notes import notes_on
from kgated.deploy.metadata.options import ConversionOptions

__all__ = [
    "Conversion",
    "ConversionOptions",
    "build_manifest",
    "check_recipe",
    "frames_of",
    "notes_on",
    "results_of",
]
