"""What is measured of a trained candidate: accuracy, its files on the device, the gradient."""

from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
from kgated_edge.evaluation.dataset import SequenceData

from kgated.compare.candidates import PLAIN, build, parameter_count
from kgated.compare.comparison import CandidateResult, DeviceRun
from kgated.compare.device import Limits, run_check
from kgated.compare.splits import Parts
from kgated.compare.study import Trained
from kgated.data import real_frames, take, zero_padded
from kgated.deploy import Recipe, to_tflite
from kgated.errors import ConversionError
from kgated.inspection import gradient_flow

REACH = 0.01  # of the gradient's norm at the last frame
MAX_GRADIENT_SEQUENCES = 64
PREDICT_BATCH = 256


@dataclass(frozen=True)
class Places:
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
    trained: Trained, parts: Parts, quantizations: tuple[str, ...], period_s: float, places: Places
) -> tuple[CandidateResult, np.ndarray]:
    """Measure a trained candidate on the test set.

    Returns:
        The result, and which test sequences each seed's model decides right, (seeds, N) boolean.
    """
    candidate = trained.candidate
    models = [keras.saving.load_model(places.models / run.file_name) for run in trained.runs]
    right = np.stack([decided_right(model, parts.test) for model in models])
    best = min(range(len(models)), key=lambda n: trained.runs[n].val_loss)
    model = models[best]
    plain = build(
        replace(candidate, cell=PLAIN), frames=real_frames(parts.train), classes=parts.classes
    )
    steps, frames = gradient_reach(model, parts.test)
    result = CandidateResult(
        name=candidate.name,
        cell=candidate.cell,
        units=candidate.units,
        layers=candidate.layers,
        bidirectional=candidate.bidirectional,
        parameters=parameter_count(model),
        parameter_ratio=parameter_count(model) / parameter_count(plain),
        trials=trained.trials,
        pruned=trained.pruned,
        seconds=trained.seconds,
        runs=trained.runs,
        accuracies=tuple(float(row.mean()) for row in right),
        exported_seed=trained.runs[best].seed,
        gradient_steps=steps,
        gradient_frames=frames,
        devices=tuple(
            on_device(model, quantize, parts, period_s, places) for quantize in quantizations
        ),
    )
    return result, right


def decided_right(model: keras.Model, data: SequenceData) -> np.ndarray:
    """Which sequences a model decides right, (N,) boolean."""
    outputs = model.predict(zero_padded(data), batch_size=PREDICT_BATCH, verbose=0)
    right: np.ndarray = outputs.argmax(axis=-1) == data.y
    return right


def on_device(
    model: keras.Model, quantize: str, parts: Parts, period_s: float, places: Places
) -> DeviceRun:
    """Convert a model by one recipe and run the test set through the file on the device runner."""
    is_stream = not any(isinstance(layer, keras.layers.Bidirectional) for layer in model.layers)
    mode = "stream" if is_stream else "sequence"
    recipe = Recipe(mode=mode, quantize=quantize)
    path = places.files / f"{model.name}.{recipe.name}.tflite"
    try:
        conversion = to_tflite(
            model,
            path,
            mode=mode,
            quantize=quantize,
            max_length=None if is_stream else parts.max_length,
            calibration=parts.train,
            labels=parts.labels,
            sample_period_s=period_s,
        )
    except ConversionError as error:
        return DeviceRun(quantize, None, None, None, None, None, None, str(error))
    steps = int(parts.test.lengths.sum())
    checked = run_check(path, places.test, Limits(1e3 * period_s, steps, 0.0))
    return DeviceRun(
        quantize,
        path.name,
        conversion.file_bytes,
        checked.accuracy,
        checked.latency.us_p50,
        checked.latency.us_p99,
        checked.real_time_factor,
        "; ".join(checked.failures) or None,
    )


def gradient_reach(model: keras.Model, data: SequenceData) -> tuple[int | None, int]:
    """Over how many steps back the gradient stays above 1% of its norm at the last frame.

    The loss's gradient with respect to the states of the first recurrent layer, of h or of c,
    whichever reaches farther. The sequences are those of at least the median length, cut to it, so
    that all end at the same frame.

    Returns:
        The number of steps before the last one, None for a cell that `gradient_flow` does not
        know; and the length of the sequences.
    """
    frames = int(np.median(data.lengths))
    sequences = take(data, np.flatnonzero(data.lengths >= frames)[:MAX_GRADIENT_SEQUENCES])
    x = np.asarray(sequences.x)[:, :frames]
    try:
        flows = gradient_flow(model, x, sequences.y, "sparse_categorical_crossentropy")
    except TypeError:
        return None, frames
    first = next(iter(flows.values()))
    return max(steps_above(norms) for norms in first.values()), frames


def steps_above(norms: np.ndarray) -> int:
    """How many steps back from the last the norms (T,) stay above 1% of the last, without a gap."""
    below = np.flatnonzero(norms[::-1] < REACH * norms[-1])
    return int(below[0]) - 1 if len(below) else len(norms) - 1
