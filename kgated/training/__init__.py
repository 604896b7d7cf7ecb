"""Training of classifiers, on long recordings, with resumption, and on several devices."""

from kgated.training.batches import Batches, Disturbance
from kgated.training.callbacks import DivergenceError
from kgated.training.distillation import SoftTargets
from kgated.training.distribution import clip_after_sum, data_parallel
from kgated.training.fitting import Plan, fit
from kgated.training.recordings import NextEpoch, Recordings, carry_state
from kgated.training.resume import Run, start_or_resume
from kgated.training.streaming import fit_streaming

__all__ = [
    "Batches",
    "Disturbance",
    "DivergenceError",
    "NextEpoch",
    "Plan",
    "Recordings",
    "Run",
    "SoftTargets",
    "carry_state",
    "clip_after_sum",
    "data_parallel",
    "fit",
    "fit_streaming",
    "start_or_resume",
]
