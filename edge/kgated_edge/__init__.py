"""Runs kgated streaming models on a device, frame by frame, and measures them."""

from kgated_edge.check import check, selftest
from kgated_edge.data import SequenceData, load_npz
from kgated_edge.errors import DataError, EdgeError, FrameError, ManifestError, StateError
from kgated_edge.manifest import Manifest, read_manifest
from kgated_edge.model import EdgeModel
from kgated_edge.results import CheckResult, SelftestResult

__all__ = [
    "CheckResult",
    "DataError",
    "EdgeError",
    "EdgeModel",
    "FrameError",
    "Manifest",
    "ManifestError",
    "SelftestResult",
    "SequenceData",
    "StateError",
    "check",
    "load_npz",
    "read_manifest",
    "selftest",
]
