"""Compares recurrent cells on one data set, from training to the device: `kgated compare`."""

from kgated.compare.candidate_models import Candidate, candidates
from kgated.compare.results import CandidateResult, Comparison
from kgated.compare.run import CompareOptions, compare_candidates

__all__ = [
    "Candidate",
    "CandidateResult",
    "CompareOptions",
    "Comparison",
    "candidates",
    "compare_candidates",
]
