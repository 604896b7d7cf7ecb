"""The outcome of a trial: a trained design with its file, or the reason of its rejection."""

from dataclasses import dataclass
from math import log
from typing import Any

from kgated.search.design.space import Design, Training
from kgated.search.measurement.files import Budget, FileCost

TIME_RATIO = 1.2  # of two step times, from which on they count as different


@dataclass(frozen=True)
class Outcome:
    """A trained design and its file.

    Attributes:
        number: of the trial.
        design: the model and the recipe.
        training: its options.
        parameters: number of trained weights.
        val_loss: of the Keras model's best epoch.
        epochs: number of epochs.
        value: the task's metric of the file on the validation data, run on the device.
        score: `value` with the sign that makes higher better.
        cost: of the file.
        seconds: duration of the trial.
    """

    number: int
    design: Design
    training: Training
    parameters: int
    val_loss: float
    epochs: int
    value: float
    score: float
    cost: FileCost
    seconds: float

    @property
    def name(self) -> str:
        """The design's name and the trial's number: names of files."""
        return f"{self.design.name}-{self.number}"

    @property
    def keras_name(self) -> str:
        """The name of the trained model in the folder `models`."""
        return f"{self.name}.keras"

    @property
    def file_name(self) -> str:
        """The name of the file in the folder `files`."""
        return f"{self.name}.tflite"

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Outcome":
        """The outcome of `dataclasses.asdict`."""
        design, cost = Design(**content["design"]), FileCost(**content["cost"])
        training = Training(**content["training"])
        return cls(**{**content, "design": design, "training": training, "cost": cost})


@dataclass(frozen=True)
class Rejected:
    """A design that was not trained, or whose training was stopped.

    Attributes:
        name: the design's.
        reason: in words.
        was_trained: whether its training began.
    """

    name: str
    reason: str
    was_trained: bool


def dominates(first: Outcome, second: Outcome, budget: Budget) -> bool:
    """Whether the first outcome dominates the second: no objective is worse, and one is better."""
    pairs = list(zip(_objectives(first, budget), _objectives(second, budget), strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def front(outcomes: list[Outcome], budget: Budget) -> list[Outcome]:
    """The Pareto front of score, size and time, in ascending order of size."""
    best = [o for o in outcomes if not any(dominates(p, o, budget) for p in outcomes)]
    return sorted(best, key=lambda outcome: _objectives(outcome, budget)[1:])


def _objectives(outcome: Outcome, budget: Budget) -> tuple[float, float, float]:
    """The objectives, to minimize. Times within 20% count as equal, since measurements vary."""
    time = round(log(outcome.cost.step_us_p50) / log(TIME_RATIO))
    return -outcome.score, outcome.cost.size(budget), time
