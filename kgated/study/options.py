"""The options that a comparison and a search share, and the check that a storage has the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kgated.optional_imports import from_demo, from_extra
from kgated.study.splits import Parts, load_parts
from kgated.study.storage.queue import TrialQueue
from kgated.training import run_record

OPTIONS = "options"
DEFAULT_PERIOD_S = 0.01
NEEDED_BY_REPORTS = ("jinja2", "matplotlib", "sklearn")


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """The options of the data, their split and the storage of the trials.

    Attributes:
        period_s: seconds between two frames; None: what the data set says, else 0.01.
        group: see `load_parts`.
        split_seed: of the split into parts.
        task: what the models learn; see `choose_task`; None: by the targets of the data.
        storage: the address of a PostgreSQL database for the trials; None: a file in the folder.
    """

    period_s: float | None = None
    group: str | None = None
    split_seed: int = 0
    task: str | None = None
    storage: str | None = None

    def load_parts(self, data: str | Path, test: str | Path | None) -> Parts:
        """The data of the study in three parts; see `kgated.study.splits.load_parts`."""
        return load_parts(data, test, task=self.task, group=self.group, seed=self.split_seed)

    def period_of(self, parts: Parts) -> float:
        """Seconds between two frames of the data."""
        return self.period_s or parts.train.info.sample_period_s or DEFAULT_PERIOD_S


def require_packages() -> None:
    """Check that the packages are there that a study and its report need.

    Raises:
        ImportError: one is missing; names the extra that brings it.
    """
    from_extra("optuna", "compare")
    for module in NEEDED_BY_REPORTS:
        from_demo(module)


def check_above_zero(values: Mapping[str, Any]) -> None:
    """Refuse a number that is not above 0 and finite; None is not checked.

    Raises:
        ValueError: names the option.
    """
    for name, value in values.items():
        if value is not None and not 0 < value < float("inf"):
            raise ValueError(f"`{name}` must be above 0. Received: {value!r}")


def check_same_study(
    queue: TrialQueue, parts: Parts, options: StudyOptions, details: Mapping[str, Any], kind: str
) -> None:
    """Refuse a storage with trials of other data or options; store those of a new study.

    Args:
        queue: of the trials.
        parts: the data.
        options: of the study.
        details: more options that all processes of the study share.
        kind: of study that the storage has otherwise, for the message.

    Raises:
        ValueError: one line with what changed.
    """
    content: dict[str, Any] = {
        "task": parts.task.name,
        "data": run_record.digest(parts.development),
        "test": run_record.digest(parts.test),
        "group": options.group,
        "split_seed": options.split_seed,
        **details,
    }
    before = queue.choose_once(queue.study(OPTIONS), OPTIONS, content)
    changes = [f"{k} {before.get(k)} became {v}" for k, v in content.items() if before.get(k) != v]
    if changes:
        raise ValueError(
            f"{queue.backend.name} holds {kind} ({', '.join(changes)}): "
            "name another folder or database, or delete this one"
        )


def forget_study(queue: TrialQueue) -> None:
    """Let a storage without a trial take other options: this study can't be run with its own."""
    queue.forget(queue.study(OPTIONS), OPTIONS)
