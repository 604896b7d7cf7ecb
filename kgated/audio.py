"""Frames of audio for training: the very functions that run on the device."""

from kgated_edge.format.front_end import FrontEndSpec
from kgated_edge.ingest.front_end import FrontEnd
from kgated_edge.ingest.logmel import LogMel, LogMelStream

__all__ = ["FrontEnd", "FrontEndSpec", "LogMel", "LogMelStream"]
