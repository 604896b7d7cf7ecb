"""The options of a search, and their checks against the data and the storage."""

from dataclasses import dataclass, field, replace
from typing import Any

from kgated.search.choice import Goal
from kgated.search.design.space import SearchSpace
from kgated.search.measurement.device import LOCAL
from kgated.search.measurement.files import Budget
from kgated.search.trials.study import Effort
from kgated.study.options import StudyOptions, check_above_zero, check_same_study
from kgated.study.splits import Parts
from kgated.study.storage.queue import TrialQueue
from kgated.study.tasks.definitions import CLASSIFICATION, Task


@dataclass(frozen=True)
class SearchOptions(StudyOptions):
    """The options of a search.

    Attributes:
        budget: the limits of the device.
        space: the designs.
        effort: the limits of the search.
        goal: the accuracy that the file must have.
        device: "local", or a host for ssh.
        runner: the command `kgated-edge` on that host.
        teacher: a .keras file, "auto" to train one, or None.
        temperature, soft_weight: of the distillation; see `SoftTargets`.

    Raises:
        ValueError: a limit or an effort that is not above 0.
    """

    budget: Budget
    space: SearchSpace = field(default_factory=SearchSpace)
    effort: Effort = field(default_factory=Effort)
    goal: Goal = field(default_factory=Goal)
    device: str = LOCAL
    runner: str = "kgated-edge"
    teacher: str | None = None
    temperature: float = 3.0
    soft_weight: float = 0.5

    def __post_init__(self) -> None:
        limits: dict[str, Any] = {**vars(self.budget), **vars(self.effort)}
        del limits["compressed"]
        check_above_zero({**limits, "period_s": self.period_s, "temperature": self.temperature})
        if not 0.0 <= self.soft_weight <= 1.0:
            raise ValueError(f"`soft_weight` must be in 0..1. Received: {self.soft_weight!r}")
        minimum = self.goal.min_accuracy
        if minimum is not None and not 0.0 < minimum <= 1.0:
            raise ValueError(f"`min_accuracy` must be above 0 and at most 1. Received: {minimum!r}")


def possible_space(space: SearchSpace, parts: Parts) -> SearchSpace:
    """The space without strides longer than the shortest sequence; for tokens only stride 1."""
    if parts.task.takes_tokens:
        return replace(space, strides=(1,))
    shortest = int(min(parts.development.lengths.min(), parts.test.lengths.min()))
    strides = tuple(stride for stride in space.strides if stride <= shortest)
    if not strides:
        raise ValueError(
            f"`strides` must be at most {shortest}, the frames of the shortest sequence. "
            f"Received: {space.strides[0]}"
        )
    return replace(space, strides=strides)


def check_task(task: Task, options: SearchOptions) -> None:
    """Refuse options that do not apply to a task; `ValueError`."""
    if options.teacher is not None and task is not CLASSIFICATION:
        raise ValueError(
            f"--teacher is for one class per sequence, and this is {task.name}: leave it out"
        )
    if options.goal.min_accuracy is not None and task.metric.name != "accuracy":
        raise ValueError(
            f"--min-accuracy is for classes, and this is {task.name}: use --tolerance, in percent "
            f"of the {task.metric.title}"
        )
    if task.is_regression and max(options.space.sparsities) > 0.0:
        raise ValueError("--sparsities is for classes and tokens: leave it out for regression")


def check_same(queue: TrialQueue, parts: Parts, options: SearchOptions) -> None:
    """Refuse a storage with trials of another search; store the options of a new one."""
    details: dict[str, Any] = {
        "search": True,
        "device": options.device,
        "max_kib": options.budget.max_kib,
        "deadline_us": options.budget.deadline_us,
        "compressed": options.budget.compressed,
        "space": {name: list(values) for name, values in vars(options.space).items()},
        "teacher": options.teacher,
        "temperature": options.temperature,
        "soft_weight": options.soft_weight,
        "epochs": options.effort.epochs,
        "patience": options.effort.patience,
    }
    check_same_study(queue, parts, options, details, "another search or comparison")
