"""Measures a trained candidate: accuracy, its files on the device, gradient and gates."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
from kgated_edge.evaluation.dataset import SequenceData

from kgated.compare.candidate_models import Candidate, build
from kgated.compare.candidate_study import Trained
from kgated.compare.dynamics import gate_activity, gradient_reach
from kgated.compare.results import CandidateResult, DeviceRun
from kgated.data import take
from kgated.deploy import Recipe, to_tflite
from kgated.errors import ConversionError
from kgated.study.edge_check import Limits, run_check
from kgated.study.fitting import load_saved, model_inputs
from kgated.study.models import PLAIN, ModelOptions, parameter_count
from kgated.study.splits import Parts
from kgated.study.tasks.definitions import Task
from kgated.study.tasks.metrics import Scores, joined_scores, stacked

PREDICT_BATCH = 256


@dataclass(frozen=True)
class StudyPaths:
    """Where a comparison reads and writes.

    Attributes:
        models: folder of the trained `.keras` models.
        files: folder for the `.tflite` files.
        test: the `.npz` file of the test set.
    """

    models: Path
    files: Path
    test: Path


def measure(
    trained: Trained,
    parts: Parts,
    quantizations: tuple[str, ...],
    period_s: float,
    paths: StudyPaths,
    fetch: Callable[[Path], Path],
) -> tuple[CandidateResult, Scores]:
    """Measure a trained candidate on the test set.

    Args:
        trained: the candidate.
        parts: the data.
        quantizations: the recipes to convert it by.
        period_s: seconds from one frame to the next.
        paths: of models, files and test data.
        fetch: copies a saved model of another process into the folder of models.

    Returns:
        The result, and the scores of each seed's model on each test sequence.
    """
    candidate, task = trained.candidate, parts.task
    model_paths = [fetch(paths.models / run.file_name) for run in trained.runs]
    models = [load_saved(path) for path in model_paths]
    scores = stacked([scores_of(model, task, parts.test) for model in models])
    losses = [run.val_loss for run in trained.runs if run.val_loss is not None]
    best = losses.index(min(losses)) if losses else 0
    model = models[best]
    result = CandidateResult(
        name=candidate.name,
        cell=candidate.cell,
        units=candidate.units,
        layers=candidate.layers,
        bidirectional=candidate.bidirectional,
        parameters=parameter_count(model),
        parameter_ratio=parameter_count(model) / _plain_parameters(candidate, parts),
        trials=trained.trials,
        pruned=trained.pruned,
        seconds=trained.seconds,
        search_run=trained.search_run,
        runs=trained.runs,
        values=tuple(scores.values(task.metric).tolist()),
        exported_seed=trained.runs[best].seed,
        gradient_norms=gradient_reach(model, task, parts.test),
        gates=gate_activity(model, task, parts.test),
        devices=tuple(
            on_device(model, quantize, parts, period_s, paths) for quantize in quantizations
        ),
    )
    return result, scores


def _plain_parameters(candidate: Candidate, parts: Parts) -> int:
    """The number of weights of a plain RNN of the same shape."""
    plain = replace(candidate, cell=PLAIN)
    return parameter_count(build(plain, ModelOptions.of(parts)))


def scores_of(model: keras.Model, task: Task, data: SequenceData) -> Scores:
    """The scores of a model's outputs on each sequence."""
    blocks = []
    for begin in range(0, len(data), PREDICT_BATCH):
        block = take(data, np.arange(begin, min(begin + PREDICT_BATCH, len(data))))
        outputs = model.predict(model_inputs(task, block), batch_size=PREDICT_BATCH, verbose=0)
        blocks.append(task.score(outputs, block))
    return joined_scores(blocks)


def on_device(
    model: keras.Model, quantize: str, parts: Parts, period_s: float, paths: StudyPaths
) -> DeviceRun:
    """Convert a model by one recipe and run the test set through the file on the device runner.

    A recipe that fails gives a result with the reason.
    """
    is_stream = not any(isinstance(layer, keras.layers.Bidirectional) for layer in model.layers)
    mode = "stream" if is_stream else "sequence"
    recipe = Recipe(mode=mode, quantize=quantize)
    path = paths.files / f"{model.name}.{recipe.name}.tflite"
    try:
        conversion = to_tflite(
            model,
            path,
            mode=mode,
            quantize=quantize,
            max_length=None if is_stream else parts.max_length,
            calibration=parts.train,
            labels=parts.labels or None,
            sample_period_s=period_s,
        )
    except (ConversionError, ValueError, RuntimeError) as error:
        return DeviceRun(quantize, failure=" ".join(str(error).split()))
    limits = Limits(1e3 * period_s, int(parts.test.lengths.sum()))
    try:
        checked = run_check(path, paths.test, limits, parts.task.name)
    except RuntimeError as error:
        return DeviceRun(quantize, path.name, conversion.file_bytes, failure=str(error))
    return DeviceRun(
        quantize,
        path.name,
        conversion.file_bytes,
        checked.metrics[parts.task.metric.name],
        checked.metrics,
        checked.latency.us_p50,
        checked.latency.us_p99,
        checked.real_time_factor,
        "; ".join(checked.failures) or None,
    )
