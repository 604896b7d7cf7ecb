"""Log-mel frames for training: the very function that runs on the device."""

from kgated_edge.ingest.logmel import LogMel, LogMelStream

__all__ = ["LogMel", "LogMelStream"]
