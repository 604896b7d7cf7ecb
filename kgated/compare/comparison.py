"""The results of a comparison of candidates, as data, JSON and CSV."""

import csv
import io
import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kgated.compare.results import Baseline
from kgated.compare.significance import Paired
from kgated.compare.study import Run


@dataclass(frozen=True)
class DeviceRun:
    """A candidate's file by one recipe, on the device runner.

    Attributes:
        quantize: the recipe's, such as "int8".
        file_name: of the `.tflite` file; None where it can't be converted.
        file_bytes: its size.
        accuracy: on the test set, run by `kgated-edge check`.
        step_us_p50, step_us_p99: time of one step; of a whole sequence where the model is
            bidirectional.
        real_time_factor: time of the steps divided by the duration of their frames.
        failure: why there is no file, or None.
    """

    quantize: str
    file_name: str | None
    file_bytes: int | None
    accuracy: float | None
    step_us_p50: float | None
    step_us_p99: float | None
    real_time_factor: float | None
    failure: str | None = None


@dataclass(frozen=True)
class CandidateResult:
    """What was measured of one candidate.

    Attributes:
        name, cell, units, layers, bidirectional: see `Candidate`.
        parameters: number of trained weights.
        parameter_ratio: to a plain RNN of the same shape.
        trials, pruned: of the search, and how many of them were stopped early.
        seconds: of all trainings.
        runs: a training per seed.
        accuracies: of each seed's Keras model on the test set.
        exported_seed: the seed of the lowest validation loss, whose model is converted.
        gradient_steps: over how many steps back from the last frame the gradient's norm stays above
            1% of that at the last frame; None where it can't be measured.
        gradient_frames: length of the sequences for it: the reach can't be longer.
        devices: a run per recipe.
    """

    name: str
    cell: str
    units: int
    layers: int
    bidirectional: bool
    parameters: int
    parameter_ratio: float
    trials: int
    pruned: int
    seconds: float
    runs: tuple[Run, ...]
    accuracies: tuple[float, ...]
    exported_seed: int
    gradient_steps: int | None
    gradient_frames: int
    devices: tuple[DeviceRun, ...]

    @property
    def accuracy(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(self.accuracies))

    @property
    def spread(self) -> float:
        """Standard deviation over the seeds; 0 for one seed."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else 0.0

    @property
    def best_run(self) -> Run:
        """The training whose model is converted."""
        return next(run for run in self.runs if run.seed == self.exported_seed)

    @property
    def out_of_time(self) -> bool:
        """Whether the time ended a training before early stopping did."""
        return any(run.out_of_time for run in self.runs)


@dataclass(frozen=True)
class Comparison:
    """The results of a comparison.

    Attributes:
        data: the data set's name.
        classes, train_sequences, validation_sequences, test_sequences: its sizes.
        sample_period_s: seconds from one frame to the next.
        budget_s: seconds of training that each candidate may use.
        candidates: what was measured, in the order asked for.
        best: the name of the candidate with the highest mean test accuracy.
        against_best: the best candidate compared with each other one, by name.
        baseline: a linear classifier on the same data.
        baseline_against_best: the best candidate compared with it.
        recommendation: sentences, with their evidence.
        notes: what is unusual in the data or the training.
        machine: processor and system.
    """

    data: str
    classes: int
    train_sequences: int
    validation_sequences: int
    test_sequences: int
    sample_period_s: float
    budget_s: float
    candidates: tuple[CandidateResult, ...]
    best: str
    against_best: dict[str, Paired]
    baseline: Baseline
    baseline_against_best: Paired
    recommendation: tuple[str, ...]
    notes: tuple[str, ...]
    machine: str


def to_json(comparison: Comparison) -> str:
    """The results as indented JSON text, with the means of the properties."""
    content: dict[str, Any] = asdict(comparison)
    for plain, candidate in zip(content["candidates"], comparison.candidates, strict=True):
        plain |= {"accuracy": candidate.accuracy, "spread": candidate.spread}
    for name, pair in comparison.against_best.items():
        content["against_best"][name]["is_noise"] = pair.is_noise
    content["baseline_against_best"]["is_noise"] = comparison.baseline_against_best.is_noise
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def to_csv(comparison: Comparison) -> str:
    """A row per candidate and recipe, units in the names of the columns."""
    text = io.StringIO(newline="")
    rows = [
        _row(candidate, device)
        for candidate in comparison.candidates
        for device in candidate.devices
    ]
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(candidate: CandidateResult, device: DeviceRun) -> dict[str, Any]:
    run = candidate.best_run
    return {
        "name": candidate.name,
        "cell": candidate.cell,
        "units": candidate.units,
        "layers": candidate.layers,
        "bidirectional": candidate.bidirectional,
        "parameters": candidate.parameters,
        "parameter_ratio": candidate.parameter_ratio,
        "epochs_to_best": run.best_epoch,
        "seconds_to_best": run.seconds_to_best,
        "test_accuracy_mean": candidate.accuracy,
        "test_accuracy_spread": candidate.spread,
        "seeds": len(candidate.runs),
        "gradient_steps": candidate.gradient_steps,
        **{name: value for name, value in vars(device).items() if name != "file_name"},
    }
