"""From a Keras model to a checked `.tflite` file on disk."""

import hashlib
import importlib.metadata
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
from kgated_edge.data import SequenceData, load_npz
from kgated_edge.manifest import Golden, Manifest, ModelInfo, TensorSpec, read_manifest

from kgated.deploy import verify
from kgated.deploy.child import run_convert
from kgated.deploy.graph import no_mask_warnings
from kgated.deploy.lower import SIGNATURE, lower
from kgated.deploy.manifest import embed
from kgated.deploy.recipe import Recipe
from kgated.deploy.streaming import StepModel, step_model
from kgated.deploy.verify import Agreement, Reference, Sequences
from kgated.files import check_writable, replace_file

TOOLS = ("kgated", "keras", "tensorflow", "ai-edge-quantizer", "ai-edge-litert")
MOST_SEQUENCES = 64

Calibration: TypeAlias = str | Path | np.ndarray | SequenceData | None


@dataclass(frozen=True)
class Conversion:
    """What a conversion made.

    Attributes:
        path: the file.
        manifest: its contract.
        agreement: how its outputs compare with the Keras model's.
        file_bytes: its size.
    """

    path: Path
    manifest: Manifest
    agreement: Agreement
    file_bytes: int


@no_mask_warnings()
def to_tflite(
    model: keras.Model,
    path: str | Path,
    *,
    mode: str = "stream",
    quantize: str = "none",
    state: str = "external",
    calibration: Calibration = None,
    labels: Sequence[str] | None = None,
    sample_period_s: float | None = None,
) -> Conversion:
    """Convert a Keras model into one `.tflite` file of builtin ops, checked against the model.

    The file is run on real or random sequences by the code that the device runs, and compared with
    the Keras model; it is written only when it agrees, whole, in place of an older file.

    Args:
        model: functional or Sequential, from (batch, time, features) or (batch, time) tokens, one
            input or several, of recurrent layers, causal convolution, pooling, and layers that act
            on each frame alone. Where strides make k frames a step, so does the file.
        path: the file to write.
        mode: "stream": signature `step`, a frame and the states in, the result and the states out.
        quantize: "none", or "dynamic": int8 weights, float state.
        state: "external": inputs and outputs of the signature, which `kgated_edge` carries;
            "internal": variables in the file, and a signature `reset`.
        calibration: sequences to check on and to take the golden frames from: the path of an
            `.npz` data set, `SequenceData`, or an array (N, T, features) float32 or (N, T) int32.
            None: seeded noise.
        labels: a name for each entry of the first output, kept in the manifest.
        sample_period_s: seconds from one frame to the next, kept in the manifest.

    Returns:
        The conversion: path, manifest, agreement with Keras, size.

    Raises:
        ConversionError: a layer can't stream, the converter fails, the file disagrees with Keras.
        ValueError: an unknown `mode`, `quantize` or `state`; `labels`, `sample_period_s` or
            `calibration` that do not fit the model.
        OSError: `path` can't be written.
    """
    recipe = Recipe(mode, quantize, state)
    path = check_writable(path)
    step = step_model(model)
    frames, outputs = _frames(step), _results(step, step.outputs)
    _check_facts(labels, sample_period_s, outputs[0])
    if keras.backend.backend() != "tensorflow":
        found = run_convert(model, path, recipe, calibration, labels, sample_period_s)
        return Conversion(path, read_manifest(path), found, path.stat().st_size)
    sequences = _sequences(calibration, frames, step.frames_per_step)
    reference = Reference.of(model, step)
    golden = verify.golden_frames(reference, sequences[0])
    largest = max(float(np.abs(array).max()) for array in golden[1].values())
    manifest = Manifest(
        mode=mode,
        signature=SIGNATURE,
        recipe=recipe.as_dict(),
        frames=frames,
        frames_per_step=step.frames_per_step,
        outputs=outputs,
        state=state,
        states=_results(step, step.states) if state == "external" else (),
        labels=None if labels is None else tuple(labels),
        sample_period_s=sample_period_s,
        model=_model_info(model),
        tools={name: importlib.metadata.version(name) for name in TOOLS},
        golden=Golden(*golden, recipe.limit(largest)),
    )
    return _finish(path, lower(step, recipe), manifest, reference, sequences, recipe)


def _finish(
    path: Path,
    tflite: bytes,
    draft: Manifest,
    reference: Reference,
    sequences: Sequences,
    recipe: Recipe,
) -> Conversion:
    """Check the file, tighten the golden tolerance to the error measured, write it."""
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder, "trial.tflite")
        trial.write_bytes(embed(tflite, draft))
        on_golden = verify.replay_golden(trial)
        found = verify.compare(trial, reference, sequences)
    verify.require(on_golden, recipe, "the golden frames")
    verify.require(found, recipe, "the sequences compared")
    tolerance = recipe.tolerance(on_golden.max_abs_error, on_golden.largest_output)
    manifest = replace(draft, golden=replace(draft.golden, tolerance=tolerance))
    content = embed(tflite, manifest)
    replace_file(path, content)
    return Conversion(path, manifest, found, len(content))


def _frames(step: StepModel) -> tuple[TensorSpec, ...]:
    """One frame of each input."""
    batch = 1 if step.frames_per_step == 1 else 2
    tensors = {name: step.model.input[name] for name in step.frames}
    return tuple(
        TensorSpec(name, x.shape[batch:], x.dtype, vocabulary=step.vocabulary.get(name))
        for name, x in tensors.items()
    )


def _results(step: StepModel, names: Sequence[str]) -> tuple[TensorSpec, ...]:
    tensors = {name: step.model.output[name] for name in names}
    return tuple(TensorSpec(name, x.shape[1:], x.dtype) for name, x in tensors.items())


def _check_facts(
    labels: Sequence[str] | None, sample_period_s: float | None, output: TensorSpec
) -> None:
    if labels is not None and len(labels) != output.shape[-1]:
        raise ValueError(
            f"`labels` must name the {output.shape[-1]} outputs. Received {len(labels)} names"
        )
    if not all(isinstance(name, str) and len(name.splitlines()) == 1 for name in labels or ()):
        raise ValueError(f"`labels` must be names of one line each. Received: {labels!r}")
    if sample_period_s is not None and not 0.0 < sample_period_s < float("inf"):
        raise ValueError(f"`sample_period_s` must be above 0. Received: {sample_period_s!r}")


def _sequences(calibration: Calibration, frames: tuple[TensorSpec, ...], size: int) -> Sequences:
    """The sequences to compare on, each (T, *frame) by input name, of whole steps."""
    if calibration is None:
        return verify.random_sequences(frames, size)
    data = _sequence_data(calibration, [frame.name for frame in frames])
    arrays = data.inputs or {frames[0].name: data.x}
    for frame in frames:
        x = arrays[frame.name]
        if x.shape[2:] != frame.shape or x.dtype != frame.dtype:
            raise ValueError(
                f"`calibration` must hold frames of shape {frame.shape} and dtype {frame.dtype}, "
                f"as the model takes them. Received: x of shape {x.shape} and dtype {x.dtype}"
            )
    lengths = [int(length) // size * size for length in data.lengths[:MOST_SEQUENCES]]
    if 0 in lengths:
        raise ValueError(
            f"`calibration` must hold sequences of {size} frames or more, which one step takes. "
            f"Received one of {int(data.lengths.min())}"
        )
    return [{name: x[n, :length] for name, x in arrays.items()} for n, length in enumerate(lengths)]


def _sequence_data(calibration: Any, names: Sequence[str]) -> SequenceData:
    several = names if len(names) > 1 else ()
    if isinstance(calibration, str | Path):
        calibration = load_npz(calibration, several)
    if isinstance(calibration, np.ndarray):
        lengths = np.full(len(calibration), calibration.shape[1])
        calibration = SequenceData(x=calibration, lengths=lengths, y=None)
    if several and set(calibration.inputs or ()) != set(names):
        raise ValueError(
            f"`calibration` must hold an array for each of the inputs {list(names)}. Received "
            "only one; give the path of an .npz file, or `SequenceData` with `inputs`"
        )
    return calibration


def _model_info(model: keras.Model) -> ModelInfo:
    digest = hashlib.sha256(json.dumps(model.get_config(), sort_keys=True, default=str).encode())
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return ModelInfo(model.name, digest.hexdigest(), model.count_params())
