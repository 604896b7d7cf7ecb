"""The part of the results that a comparison and a search share, and CSV text."""

import csv
import io
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kgated.study.splits import Parts
from kgated.study.tasks.metrics import Metric


@dataclass(frozen=True)
class StudyResults:
    """The data that a study was made on.

    Attributes:
        data: the data set's name.
        task: what is learned, as `kgated-edge check --task` takes it.
        metric: of the results.
        outputs, train_sequences, validation_sequences, test_sequences: the sizes of the data.
        sample_period_s: seconds from one frame to the next.
    """

    data: str
    task: str
    metric: Metric
    outputs: int
    train_sequences: int
    validation_sequences: int
    test_sequences: int
    sample_period_s: float


@dataclass(frozen=True)
class BaselineValue:
    """A simple model on the same data.

    Attributes:
        name: such as "linear baseline".
        description: the model and its features, in words.
        value: the metric on the test data.
    """

    name: str
    description: str
    value: float


def data_fields(name: str, parts: Parts, period_s: float) -> dict[str, Any]:
    """The fields of `StudyResults` for data of this name."""
    return {
        "data": name,
        "task": parts.task.name,
        "metric": parts.task.metric,
        "outputs": parts.outputs,
        "train_sequences": len(parts.train),
        "validation_sequences": len(parts.validation),
        "test_sequences": len(parts.test),
        "sample_period_s": period_s,
    }


def this_machine() -> str:
    """Processor and system of this machine, in words."""
    return f"{platform.machine()}, {platform.system()}, {os.cpu_count()} CPUs"


def csv_text(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of the same keys as CSV with a header."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
