"""Searches the smallest model that meets the limits of a device: `kgated search`."""

from kgated.search.choice import Goal
from kgated.search.design.space import SearchSpace
from kgated.search.measurement.files import Budget
from kgated.search.options import SearchOptions
from kgated.search.report.results import SearchResults
from kgated.search.run import search_models
from kgated.search.trials.outcome import Outcome
from kgated.search.trials.study import Effort

__all__ = [
    "Budget",
    "Effort",
    "Goal",
    "Outcome",
    "SearchOptions",
    "SearchResults",
    "SearchSpace",
    "search_models",
]
