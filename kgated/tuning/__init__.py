"""Chooses thresholds for events and alarms, and prediction intervals, from recordings."""

from kgated.tuning.alarms import Alarms, tune_alarms
from kgated.tuning.conformal import conformal_intervals
from kgated.tuning.manifest_section import with_section, write_section
from kgated.tuning.run import Tuned, evaluate, raw_decisions, store, tune

__all__ = [
    "Alarms",
    "Tuned",
    "conformal_intervals",
    "evaluate",
    "raw_decisions",
    "store",
    "tune",
    "tune_alarms",
    "with_section",
    "write_section",
]
