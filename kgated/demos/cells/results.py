"""The results of a comparison of cells, as data with the units in the names."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from kgated.study.edge_check import Latency

# Maximum absolute difference of the float file from Keras on every sequence.
FLOAT_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Baseline:
    """A linear classifier as a baseline.

    Attributes:
        description: the classifier, in words.
        fold_accuracy: mean over the cross-validation folds of the training set.
        test_accuracy: on the test set.
    """

    description: str
    fold_accuracy: float
    test_accuracy: float


@dataclass(frozen=True)
class Row:
    """One cell with one recipe: the trained model and its file on the device.

    Attributes:
        cell: the layer's name.
        quantize: the recipe's, "none" or "dynamic".
        parameters: trained weights.
        keras_accuracy: of the Keras model on the padded, masked test set.
        device_accuracy: of the file on the device side, frame by frame over the real lengths.
        differing_decisions: test sequences with different decisions in Keras and the file.
        max_abs_difference: of their outputs after the last frame, over the test set.
        file_name: of the `.tflite` file.
        file_bytes: its size.
        latency: of one step.
        deadline_misses: steps that took longer than the deadline.
        peak_memory_mib: of the whole process that runs the file.
        failures: a sentence for each limit that is not met.
    """

    cell: str
    quantize: str
    parameters: int
    keras_accuracy: float
    device_accuracy: float
    differing_decisions: int
    max_abs_difference: float
    file_name: str
    file_bytes: int
    latency: Latency
    deadline_misses: int
    peak_memory_mib: float | None
    failures: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether all limits are met."""
        return not self.failures


@dataclass(frozen=True)
class Setting:
    """The data, the limits and the machine of a comparison.

    Attributes:
        data: the data set's name.
        train_sequences, test_sequences, test_frames: sizes of the data set.
        classes: number of classes.
        sample_period_s: seconds from one frame to the next.
        deadline_ms: maximum time of a step.
        max_misses: maximum number of steps that take longer.
        seed: of everything.
        machine: processor and system.
        versions: of the packages used.
    """

    data: str
    train_sequences: int
    test_sequences: int
    test_frames: int
    classes: int
    sample_period_s: float
    deadline_ms: float
    max_misses: int
    seed: int
    machine: str
    versions: dict[str, str]


@dataclass(frozen=True)
class Results:
    """The results of a comparison.

    Attributes:
        setting: data, limits and machine.
        baseline: a linear classifier on the same sequences.
        rows: per cell and recipe.
        training_s: seconds per cell.
        total_s: seconds from the first to the last.
    """

    setting: Setting
    baseline: Baseline
    rows: tuple[Row, ...]
    training_s: dict[str, float]
    total_s: float

    @property
    def failures(self) -> tuple[str, ...]:
        """A sentence for each limit that is not met, with the cell and the recipe."""
        return tuple(f"{r.cell}, {r.quantize}: {f}" for r in self.rows for f in r.failures)

    @property
    def peak_memory_mib(self) -> float:
        """The maximum over all runs, 0 where the system doesn't report it."""
        return max(row.peak_memory_mib or 0.0 for row in self.rows)

    @property
    def passed(self) -> bool:
        """Whether every row meets its limits."""
        return not self.failures


def disagreements(quantize: str, max_abs_difference: float, differing: int) -> tuple[str, ...]:
    """Describe how a float file differs from its Keras model; a quantized file may differ."""
    if quantize != "none":
        return ()
    failures = []
    if not max_abs_difference <= FLOAT_TOLERANCE:
        failures.append(
            f"outputs differ from Keras by {max_abs_difference:.3g}, allowed are "
            f"{FLOAT_TOLERANCE:g}"
        )
    if differing:
        failures.append(f"{differing} decisions differ from Keras, none may")
    return tuple(failures)


def to_json(results: Results) -> str:
    """The results as indented JSON text, with `passed` for the comparison and each row."""
    content: dict[str, Any] = asdict(results)
    content["passed"] = results.passed
    for row_content, row in zip(content["rows"], results.rows, strict=True):
        row_content["passed"] = row.passed
    return json.dumps(content, indent=2, allow_nan=False) + "\n"
