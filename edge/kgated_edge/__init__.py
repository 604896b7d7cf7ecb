"""Runs kgated models on a device, per frame or per sequence, and measures them."""

from kgated_edge.errors import DataError, EdgeError, FrameError, ManifestError, StateError
from kgated_edge.evaluation.checker import check, selftest
from kgated_edge.evaluation.dataset import SequenceData, load_npz
from kgated_edge.evaluation.limits import Limits, read_limits
from kgated_edge.evaluation.metrics import Quality
from kgated_edge.evaluation.results import CheckResult, RealtimeResult, SelftestResult
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.reader import read_manifest
from kgated_edge.ingest.logmel import LogMel, LogMelStream
from kgated_edge.ingest.runner import LiveResult, live, live_blocks
from kgated_edge.loadtest.plan import Plan
from kgated_edge.loadtest.runner import realtime
from kgated_edge.runtime.open import open_model
from kgated_edge.runtime.sequence_model import SequenceModel
from kgated_edge.runtime.session_pool import Session, SessionPool
from kgated_edge.runtime.stream_model import EdgeModel
from kgated_edge.text.generation import generate

__all__ = [
    "CheckResult",
    "DataError",
    "EdgeError",
    "EdgeModel",
    "FrameError",
    "Limits",
    "LiveResult",
    "LogMel",
    "LogMelStream",
    "Manifest",
    "ManifestError",
    "Plan",
    "Quality",
    "RealtimeResult",
    "SelftestResult",
    "SequenceData",
    "SequenceModel",
    "Session",
    "SessionPool",
    "StateError",
    "check",
    "generate",
    "live",
    "live_blocks",
    "load_npz",
    "open_model",
    "read_limits",
    "read_manifest",
    "realtime",
    "selftest",
]
