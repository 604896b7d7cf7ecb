"""Runs kgated models on a device, frame by frame or a sequence at once, and measures them."""

from kgated_edge.check import check, open_model, selftest
from kgated_edge.data import SequenceData, load_npz
from kgated_edge.errors import DataError, EdgeError, FrameError, ManifestError, StateError
from kgated_edge.limits import Limits, read_limits
from kgated_edge.live import LiveResult, live, live_blocks
from kgated_edge.logmel import LogMel, LogMelStream
from kgated_edge.manifest import Manifest, read_manifest
from kgated_edge.model import EdgeModel
from kgated_edge.plan import Plan
from kgated_edge.pool import Session, SessionPool
from kgated_edge.realtime import realtime
from kgated_edge.results import CheckResult, RealtimeResult, SelftestResult
from kgated_edge.score import Quality
from kgated_edge.sequence import SequenceModel

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
    "live",
    "live_blocks",
    "load_npz",
    "open_model",
    "read_limits",
    "read_manifest",
    "realtime",
    "selftest",
]
