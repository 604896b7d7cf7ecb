"""Runs kgated models on a device, per frame or per sequence, and measures them."""

from kgated_edge.errors import (
    DataError,
    EdgeError,
    FrameError,
    ManifestError,
    SignatureError,
    StateError,
)
from kgated_edge.evaluation.checker import check, selftest
from kgated_edge.evaluation.dataset import SequenceData, load_npz
from kgated_edge.evaluation.dataset_info import DataInfo
from kgated_edge.evaluation.event_matching import Matching, ReferenceEvent, match_events
from kgated_edge.evaluation.event_metrics import EventMetrics, EventScorer
from kgated_edge.evaluation.limits import Limits, read_limits
from kgated_edge.evaluation.metrics import Quality
from kgated_edge.evaluation.results import CheckResult, RealtimeResult, SelftestResult
from kgated_edge.events.detector import Event, EventDetector
from kgated_edge.events.stream import EventStream, detector_of
from kgated_edge.format.event_settings import ClassThreshold, EventSettings
from kgated_edge.format.front_end import FrontEndSpec
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.reader import read_manifest
from kgated_edge.ingest.front_end import FrontEnd
from kgated_edge.ingest.logmel import LogMel, LogMelStream
from kgated_edge.ingest.runner import LiveResult, live, live_blocks
from kgated_edge.ingest.wav_folder import load_wav_folder
from kgated_edge.loadtest.plan import Plan
from kgated_edge.loadtest.runner import realtime
from kgated_edge.recordings.checker import EventCheckResult, check_events
from kgated_edge.runtime.open import open_model
from kgated_edge.runtime.sequence_model import SequenceModel
from kgated_edge.runtime.session_pool import Session, SessionPool
from kgated_edge.runtime.stream_model import EdgeModel
from kgated_edge.runtime.worker_pool import WorkerPool
from kgated_edge.signing.check import require_signature
from kgated_edge.telemetry.monitor import FieldMonitor, FieldReport
from kgated_edge.text.generation import generate

__all__ = [
    "CheckResult",
    "ClassThreshold",
    "DataError",
    "DataInfo",
    "EdgeError",
    "EdgeModel",
    "Event",
    "EventCheckResult",
    "EventDetector",
    "EventMetrics",
    "EventScorer",
    "EventSettings",
    "EventStream",
    "FieldMonitor",
    "FieldReport",
    "FrameError",
    "FrontEnd",
    "FrontEndSpec",
    "Limits",
    "LiveResult",
    "LogMel",
    "LogMelStream",
    "Manifest",
    "ManifestError",
    "Matching",
    "Plan",
    "Quality",
    "RealtimeResult",
    "ReferenceEvent",
    "SelftestResult",
    "SequenceData",
    "SequenceModel",
    "Session",
    "SessionPool",
    "SignatureError",
    "StateError",
    "WorkerPool",
    "check",
    "check_events",
    "detector_of",
    "generate",
    "live",
    "live_blocks",
    "load_npz",
    "load_wav_folder",
    "match_events",
    "open_model",
    "read_limits",
    "read_manifest",
    "realtime",
    "require_signature",
    "selftest",
]
