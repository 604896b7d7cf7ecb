"""From a Keras model to a checked `.tflite` file on disk."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.reader import read_manifest

from kgated import steps
from kgated.atomic_write import check_writable, replace_files
from kgated.deploy import tflm
from kgated.deploy.from_qat.export import QatExport
from kgated.deploy.lowering.converter import lower
from kgated.deploy.manifest_writer import embed, overwrite, without_manifest
from kgated.deploy.metadata import (
    ConversionOptions,
    build_manifest,
    check_recipe,
    frames_of,
    results_of,
)
from kgated.deploy.other_backend import convert_on_tensorflow, convert_saved
from kgated.deploy.quantization.finish import finish
from kgated.deploy.quantization.quantize import quantize as quantize_file
from kgated.deploy.quantization.worker_job import quantize_in_worker
from kgated.deploy.recipe import Recipe
from kgated.deploy.sequence.graph import SequenceGraph, sequence_model
from kgated.deploy.sequence.inputs import length_of
from kgated.deploy.sequence.lowering_choice import choose_lowering
from kgated.deploy.sequence.preprocessing import check_decibels
from kgated.deploy.sequence.rnn import Lowering
from kgated.deploy.streaming import StepModel, step_model
from kgated.deploy.tflite.float_file import FloatFile
from kgated.deploy.tflite.layer_table import LayerTable
from kgated.deploy.verification import compare
from kgated.deploy.verification.compare import Agreement
from kgated.deploy.verification.feature_ranges import (
    check_constant_features,
    warn_of_small_features,
)
from kgated.deploy.verification.reference import Reference
from kgated.deploy.verification.sequences import Calibration, Sequences
from kgated.deploy.verification.targets import Target, TargetSequence, TargetStream
from kgated.deploy.worker import run_in_worker, start_worker
from kgated.keras_graph import check_graph, no_mask_warnings
from kgated.optimize import QuantizeAware

CONVERT_SAVED = "kgated.deploy.convert:convert_saved_job"


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion.

    Attributes:
        path: the file.
        manifest: what the file says about itself.
        outputs: how each of its outputs compares with the Keras model's, by name.
        file_bytes: its size.
    """

    path: Path
    manifest: Manifest
    outputs: Mapping[str, Agreement]
    file_bytes: int

    @property
    def agreement(self) -> Agreement:
        """How all its outputs together compare with the Keras model's."""
        return compare.merge_reports(self.outputs.values())


@no_mask_warnings()
def to_tflite(
    model: keras.Model,
    path: str | Path,
    *,
    mode: str = "stream",
    quantize: str = "none",
    state: str = "external",
    skip: Sequence[str] = (),
    target: str = "cpu",
    lowering: str = "auto",
    length: int | None = None,
    max_length: int | None = None,
    batch: int = 1,
    calibration: Calibration = None,
    labels: Sequence[str] | None = None,
    sample_period_s: float | None = None,
    figures: Mapping[str, float] | None = None,
) -> Conversion:
    """Convert a Keras model into one `.tflite` file of builtin ops, checked against the model.

    The file is run on real or random sequences by the code that the device runs, and compared with
    the Keras model; it is written only when it agrees, whole, in place of an older file.

    Args:
        model: functional, Sequential or made by `kgated.quantize_aware`, from (batch, time,
            features) or (batch, time) tokens, one input or several, of recurrent layers, causal
            convolution, pooling, and layers that act on each frame alone. Where strides make k
            frames a step, so does the file.
        path: the file to write.
        mode: "stream": signature `step`, a frame and the states in, the result and the states out;
            "sequence": signature `serve`, a whole sequence in, its result out. A sequence may be
            processed in both directions, by Bidirectional layers or `go_backwards`; inputs may be
            vectors without time beside the sequences.
        quantize: "none"; "float16": weights in half the size; "dynamic": int8 weights, float state;
            "dynamic4": 4-bit weights; "int8": int8 throughout, in, out and state too; "int16x8":
            the same with int16 and int8 weights.
        state: "external": inputs and outputs of the signature, which `kgated_edge` carries;
            "internal": variables in the file, and a signature `reset`.
        skip: names of layers that stay in float.
        target: "cpu": any device that runs LiteRT; "mcu": TensorFlow Lite Micro, for "int8" and
            "int16x8", with C++ sources NAME.h and NAME.cc beside NAME.tflite.
        lowering: of a sequence's steps: "unrolled", each in the graph; "while", a loop; "auto", the
            faster one for this model and length; "fused", the builtin operator that computes a
            whole LSTM, for runtimes with a fast kernel for it.
        length: of a sequence, in frames; None: as the model's `Input` says.
        max_length: in place of `length`, for sequences of up to so many frames: how many there are,
            is an input then, and padding does not change the result.
        batch: how many sequences, or streams, a call takes side by side: the first axis of every
            tensor; "mcu" takes 1.
        calibration: sequences to check on, to take the golden frames from, and for "int8" and
            "int16x8" the ranges of every tensor, unless the model has learned them: the path of an
            `.npz` data set, `SequenceData`, or an array (N, T, features) float32 or (N, T) int32,
            by name where there are several inputs; of more than 64 sequences 64, evenly spread.
            None: seeded noise, which "int8" and "int16x8" refuse: its ranges say nothing.
        labels: a name for each entry of the first output, kept in the manifest.
        sample_period_s: seconds from one frame to the next, kept in the manifest.
        figures: how good the float model is, such as {"accuracy": 0.984}, kept in the manifest, to
            which `kgated-edge check` compares the device's own: accuracy, r2, mae, rmse,
            bits_per_character.

    Returns:
        The conversion: path, manifest, agreement with Keras, size.

    Warns:
        UserWarning: "int8" and a `calibration` with features so much smaller than others that the
            scale, which all features share, hardly resolves them.

    Raises:
        ConversionError: a layer can't stream, the converter fails or crashes, the file disagrees
            with Keras.
        TypeError: `model` is no Keras model.
        ValueError: an unknown `mode`, `quantize`, `state`, `lowering` or name in `skip`; no
            `calibration` where there must be one; no `length` where the model has none; `labels`,
            `sample_period_s`, `figures` or `calibration` that do not fit the model.
        OSError: `path` can't be written.
    """
    recipe = Recipe(mode, quantize, state, tuple(skip), target, lowering, batch)
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a Keras model. Received: {model!r}")
    return convert(
        model,
        Path(path),
        ConversionOptions(
            recipe, calibration, labels, sample_period_s, length, max_length, figures
        ),
    )


def convert(model: keras.Model, path: Path, options: ConversionOptions) -> Conversion:
    """`to_tflite` with its options as data."""
    recipe, path = options.recipe, check_writable(path)
    if recipe.target == "mcu":
        tflm.check_source_paths(path)
    start_worker()
    qat = QatExport.of(model, recipe) if isinstance(model, QuantizeAware) else None
    layers = model if qat is None else qat.layers
    if qat is not None and (recipe.mode, recipe.lowering) == ("sequence", "auto"):
        recipe = replace(recipe, lowering="unrolled")  # QAT has no ranges inside a loop's body
    recipe, graph, target = target_of(layers, recipe, options.length, options.max_length)
    check_recipe(recipe, graph, options.calibration is not None or qat is not None)
    sequences = _sequences(layers, graph, target, replace(options, recipe=recipe))
    if keras.backend.backend() != "tensorflow":
        outputs = convert_on_tensorflow(model, path, replace(options, recipe=recipe), CONVERT_SAVED)
        return Conversion(path, read_manifest(path), outputs, path.stat().st_size)
    target = target if qat is None else qat.target(target)
    manifest = build_manifest(model, recipe, graph, target.golden(sequences), options)
    content = _build(graph, manifest, target, sequences, recipe, qat)
    return _check_and_write(path, content, target, sequences, recipe)


def convert_saved_job(folder: str) -> None:
    """The worker's part of a conversion from another backend; see `convert_on_tensorflow`."""
    import kgated.models  # noqa: F401 - registers the layers and the language model

    convert_saved(Path(folder), lambda *arguments: convert(*arguments).outputs)


def _sequences(
    layers: keras.Model,
    graph: StepModel | SequenceGraph,
    target: Target,
    options: ConversionOptions,
) -> Sequences:
    """The sequences to compare on, once the options are seen to fit the model."""
    frames, outputs = frames_of(graph), results_of(graph, graph.outputs)
    options.check_labels(outputs[0])
    sequences, recipe = target.sequences(options.calibration, frames), options.recipe
    if recipe.quantization.has_integer_weights:
        check_decibels(layers, recipe.quantization.activation_bits, recipe.skip)
    if recipe.is_static:
        check_constant_features(layers, recipe.skip)
    if recipe.quantization.activation_bits == 8 and options.calibration is not None:
        warn_of_small_features(sequences, frames)
    return sequences


def target_of(
    model: keras.Model, recipe: Recipe, length: int | None, max_length: int | None
) -> tuple[Recipe, StepModel | SequenceGraph, Target]:
    """The recipe with every choice made, the graph to convert, and the verification target."""
    if recipe.mode == "sequence":
        check_graph(model)
        steps_of = length_of(model, length, max_length)
        recipe = choose_lowering(recipe, model, steps_of, padded=max_length is not None)
        lowering = Lowering(recipe.lowering, select=recipe.is_static)
        graph = sequence_model(model, lowering, length, max_length, recipe.batch)
        return recipe, graph, TargetSequence.of(model, graph, recipe.batch)
    if length is not None or max_length is not None:
        raise ValueError("`length` and `max_length` are for `mode='sequence'`; a stream has no end")
    # Integers have one scale for [x, h]: the larger range would leave little of the smaller.
    affine = steps.affine if recipe.is_static else steps.affine_joined
    step = step_model(model, affine, recipe.batch)
    return recipe, step, TargetStream(Reference.of(model, step))


def _build(
    graph: StepModel | SequenceGraph,
    manifest: Manifest,
    target: Target,
    sequences: Sequences,
    recipe: Recipe,
    qat: QatExport | None,
) -> bytes:
    """The file as the recipe wants it, with its manifest."""
    model = lower(graph, recipe, has_markers=qat is not None)
    shared = [(state.name, state.name) for state in manifest.states]
    if qat is None:
        file, ranges = FloatFile(model, LayerTable.from_names(model)), None
    else:
        file, ranges = qat.float_file(model, shared)
        sequences = sequences[:1]  # to see that the file runs
    if not recipe.is_static:
        return finish(quantize_file(file, recipe), file.layers, recipe, manifest)
    content = embed(file.model, manifest)
    samples = _samples(content, target, sequences, recipe)
    return quantize_in_worker(content, file.layers, recipe, samples, shared, ranges)


def _samples(
    content: bytes, target: Target, sequences: Sequences, recipe: Recipe
) -> list[dict[str, np.ndarray]]:
    """The inputs of a float file's signature over the sequences."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "float.tflite")
        path.write_bytes(content)
        run_in_worker(path, recipe)
        return target.samples(path, sequences)


def _check_and_write(
    path: Path, content: bytes, target: Target, sequences: Sequences, recipe: Recipe
) -> Conversion:
    """Check the file, tighten the golden tolerance to the error measured, write it."""
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder, "trial.tflite")
        trial.write_bytes(content)
        manifest = read_manifest(trial)
        run_in_worker(trial, recipe)
        on_golden = compare.replay_golden(trial)
        outputs = target.compare(trial, sequences)
    compare.check_limits(on_golden, recipe, "the golden frames")
    for name, agreement in outputs.items():  # each by its own scale: a large one hides no small one
        compare.check_limits(agreement, recipe, f"output `{name}` over the sequences compared")
    tolerance = recipe.tolerance(on_golden.max_abs_error, on_golden.largest_output)
    manifest = replace(manifest, golden=replace(manifest.golden, tolerance=tolerance))
    content = overwrite(content, manifest)
    sources = _sources(path, content, manifest, recipe)
    replace_files({path: content, **sources})
    return Conversion(path, read_manifest(path), outputs, len(content))


def _sources(path: Path, content: bytes, manifest: Manifest, recipe: Recipe) -> dict[Path, bytes]:
    """The C++ sources beside the file, where the target has some."""
    if recipe.target != "mcu":
        return {}
    sources = tflm.sources(without_manifest(content), manifest, path.stem)
    return tflm.source_files(path, sources)
