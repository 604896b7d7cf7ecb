"""The results of a search as data, JSON and CSV."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from kgated.search.measurement.files import Budget, FileCost
from kgated.search.trials.outcome import Outcome, Rejected
from kgated.study.results import BaselineValue, StudyResults, csv_text


@dataclass(frozen=True)
class TeacherResult:
    """The teacher's own file, for comparison.

    Attributes:
        name: of its model.
        quantize: the recipe of the file.
        cost: of the file.
        validation_value, test_value: the metric of the file on the device.
    """

    name: str
    quantize: str
    cost: FileCost
    validation_value: float
    test_value: float


@dataclass(frozen=True)
class SearchResults(StudyResults):
    """The results of a search.

    Attributes:
        device: where the files were measured.
        budget: the limits.
        goal: the value on the validation data that was asked for.
        reached: whether the chosen file has it.
        chosen: the outcome whose file is taken.
        front: the Pareto front of the validation value, size and time, by size.
        test_values: by name of an outcome: of the chosen file and those of the front.
        outcomes: of all trained designs.
        rejected: the designs that were not trained, or not to the end.
        reference: the teacher's file, or None.
        baselines: simple models on the same data.
        sentences: what was chosen, why, and what the nearest rejected candidates were.
        notes: what is unusual in the data.
        machine: processor and system of this machine.
    """

    device: str
    budget: Budget
    goal: float
    reached: bool
    chosen: Outcome
    front: tuple[Outcome, ...]
    test_values: dict[str, float]
    outcomes: tuple[Outcome, ...]
    rejected: tuple[Rejected, ...]
    reference: TeacherResult | None
    baselines: tuple[BaselineValue, ...]
    sentences: tuple[str, ...]
    notes: tuple[str, ...]
    machine: str


def to_json(results: SearchResults) -> str:
    """The results as indented JSON text; `chosen` and `front` are names of outcomes."""
    content: dict[str, Any] = asdict(results)
    content["chosen"] = results.chosen.name
    content["front"] = [outcome.name for outcome in results.front]
    content["outcomes"] = [row_of(outcome, results) for outcome in results.outcomes]
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def to_csv(results: SearchResults) -> str:
    """A row per trained design, units in the names of the columns."""
    return csv_text([row_of(outcome, results) for outcome in results.outcomes])


def row_of(outcome: Outcome, results: SearchResults) -> dict[str, Any]:
    """An outcome as flat data."""
    nested = ("design", "training", "cost", "value", "score")
    plain = {key: value for key, value in asdict(outcome).items() if key not in nested}
    return {
        "name": outcome.name,
        **asdict(outcome.design),
        **asdict(outcome.training),
        **plain,
        **asdict(outcome.cost),
        f"validation_{results.metric.name}": outcome.value,
        f"test_{results.metric.name}": results.test_values.get(outcome.name),
        "fits": outcome.cost.fits(results.budget),
        "on_front": outcome in results.front,
        "chosen": outcome == results.chosen,
    }
