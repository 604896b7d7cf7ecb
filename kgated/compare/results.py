"""The results of a comparison of candidates, as data, JSON and CSV."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from kgated.compare.dynamics import Gate, steps_above
from kgated.compare.significance import PairedDifference
from kgated.compare.training import Run
from kgated.study.results import BaselineValue, StudyResults, csv_text
from kgated.study.tasks.metrics import Metric, spread


@dataclass(frozen=True)
class DeviceRun:
    """A candidate's file by one recipe, on the device runner.

    Attributes:
        quantize: the recipe's, such as "int8".
        file_name: of the `.tflite` file; None where it can't be converted.
        file_bytes: its size.
        value: the task's metric on the test set, run by `kgated-edge check`.
        metrics: all metrics of that run, by name.
        step_us_p50, step_us_p99: time of one step; of a whole sequence where the model is
            bidirectional.
        real_time_factor: time of the steps divided by the duration of their frames.
        failure: why there is no file, or None.
    """

    quantize: str
    file_name: str | None = None
    file_bytes: int | None = None
    value: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    step_us_p50: float | None = None
    step_us_p99: float | None = None
    real_time_factor: float | None = None
    failure: str | None = None


@dataclass(frozen=True)
class CandidateResult:
    """The results of one candidate.

    Attributes:
        name, cell, units, layers, bidirectional: see `Candidate`.
        parameters: number of trained weights.
        parameter_ratio: to a plain RNN of the same shape.
        trials, pruned: of the search, and how many of them were stopped early.
        seconds: of all trainings.
        search_run: the best training of the search.
        runs: a training per seed.
        values: the metric of each seed's Keras model on the test set.
        exported_seed: the seed whose model is converted: that of the lowest validation loss, or,
            where the seeds are trained without validation, the first.
        gradient_norms: see `gradient_reach`.
        gates: see `gate_activity`.
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
    search_run: Run
    runs: tuple[Run, ...]
    values: tuple[float, ...]
    exported_seed: int
    gradient_norms: tuple[float, ...] | None
    gates: tuple[Gate, ...]
    devices: tuple[DeviceRun, ...]

    @property
    def value(self) -> float:
        """Mean of the metric over the seeds."""
        return float(np.mean(self.values))

    @property
    def spread(self) -> float:
        """Standard deviation over the seeds; 0 for one seed."""
        return spread(self.values)

    @property
    def validated_run(self) -> Run:
        """The training whose model is converted, or, where it had no validation, the search's."""
        run = next(run for run in self.runs if run.seed == self.exported_seed)
        return self.search_run if run.val_loss is None else run

    @property
    def out_of_time(self) -> bool:
        """Whether the time ended or shortened a training."""
        return any(run.out_of_time for run in (self.search_run, *self.runs))

    @property
    def gradient_steps(self) -> int | None:
        """Over how many steps back the gradient's norm stays above 1% of that at the last frame."""
        return None if self.gradient_norms is None else steps_above(self.gradient_norms)


@dataclass(frozen=True)
class BaselineResult(BaselineValue):
    """A simple model, compared with the best candidate.

    Attributes:
        against_best: the best candidate compared with it.
    """

    against_best: PairedDifference


@dataclass(frozen=True)
class Comparison(StudyResults):
    """The results of a comparison.

    Attributes:
        budget_s: seconds of training that each candidate may use.
        candidates: what was measured, in the order asked for.
        best: the name of the candidate with the best mean of the metric.
        against_best: the best candidate compared with each other one, by name.
        baselines: simple models; the first is linear.
        recommended: the name of the recommended candidate.
        recommendation: sentences, with their evidence.
        notes: what is unusual in the data or the training.
        machine: processor and system.
    """

    budget_s: float
    candidates: tuple[CandidateResult, ...]
    best: str
    against_best: dict[str, PairedDifference]
    baselines: tuple[BaselineResult, ...]
    recommended: str
    recommendation: tuple[str, ...]
    notes: tuple[str, ...]
    machine: str


def to_json(comparison: Comparison) -> str:
    """The results as indented JSON text, with the means of the properties."""
    content: dict[str, Any] = asdict(comparison)
    for plain, candidate in zip(content["candidates"], comparison.candidates, strict=True):
        plain |= {"value": candidate.value, "spread": candidate.spread}
        plain["gradient_steps"] = candidate.gradient_steps
    for name, pair in comparison.against_best.items():
        content["against_best"][name]["is_noise"] = pair.is_noise
    for plain, baseline in zip(content["baselines"], comparison.baselines, strict=True):
        plain["against_best"]["is_noise"] = baseline.against_best.is_noise
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def to_csv(comparison: Comparison) -> str:
    """A row per candidate and recipe, units in the names of the columns."""
    return csv_text(
        [
            _row(candidate, device, comparison.metric)
            for candidate in comparison.candidates
            for device in candidate.devices
        ]
    )


def _row(candidate: CandidateResult, device: DeviceRun, metric: Metric) -> dict[str, Any]:
    run = candidate.validated_run
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
        "metric": metric.name,
        "test_mean": candidate.value,
        "test_spread": candidate.spread,
        "seeds": len(candidate.runs),
        "gradient_steps": candidate.gradient_steps,
        "quantize": device.quantize,
        "file_bytes": device.file_bytes,
        "device": device.value,
        "step_us_p50": device.step_us_p50,
        "step_us_p99": device.step_us_p99,
        "real_time_factor": device.real_time_factor,
        "failure": device.failure,
    }
