"""From a Keras model to a checked `.tflite` file on disk."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.reader import read_manifest

from kgated import steps
from kgated.atomic_write import check_writable, replace_files
from kgated.deploy import tflm
from kgated.deploy.from_qat.export import Learned
from kgated.deploy.lowering.converter import lower
from kgated.deploy.manifest_writer import as_stored, embed
from kgated.deploy.metadata import Facts, check_facts, check_figures, draft, frames_of, results_of
from kgated.deploy.other_backend import run_convert
from kgated.deploy.quantization.quantize import quantize as quantize_file
from kgated.deploy.quantization.worker_job import quantize_apart
from kgated.deploy.recipe import Recipe
from kgated.deploy.sequence.graph import SequenceGraph, sequence_model
from kgated.deploy.sequence.inputs import length_of
from kgated.deploy.sequence.lowering_choice import choose_lowering
from kgated.deploy.sequence.rnn import Lowering
from kgated.deploy.streaming import StepModel, step_model
from kgated.deploy.tflite.cleanup import slim
from kgated.deploy.verification import compare
from kgated.deploy.verification.compare import Agreement
from kgated.deploy.verification.feature_ranges import (
    check_constant_features,
    warn_of_small_features,
)
from kgated.deploy.verification.reference import Reference
from kgated.deploy.verification.sequences import Calibration, Sequences
from kgated.deploy.verification.targets import Target, TargetSequence, TargetStream
from kgated.deploy.worker import get_ready, run_apart
from kgated.errors import ConversionError
from kgated.keras_graph import check_graph, no_mask_warnings
from kgated.optimize import QuantizeAware


@dataclass(frozen=True)
class Conversion:
    """What a conversion made.

    Attributes:
        path: the file.
        manifest: its contract, as the file has it.
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
            heard both ways, by Bidirectional layers or `go_backwards`; inputs may be vectors
            without time beside the sequences.
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
            whole LSTM, for runtimes that are made for it.
        length: of a sequence, in frames; None: as the model's `Input` says.
        max_length: in place of `length`, for sequences of up to so many frames: how many there are,
            is an input then, and padding does not change the result.
        batch: how many sequences, or streams, a call takes side by side: the first axis of every
            tensor; "mcu" takes 1.
        calibration: sequences to check on, to take the golden frames from, and for "int8" and
            "int16x8" the ranges of every tensor, unless the model learned them: the path of an
            `.npz` data set, `SequenceData`, or an array (N, T, features) float32 or (N, T) int32,
            by name where there are several inputs; of more than 64 sequences 64, evenly spread.
            None: seeded noise, which is no measure for ranges, and refused there.
        labels: a name for each entry of the first output, kept in the manifest.
        sample_period_s: seconds from one frame to the next, kept in the manifest.
        figures: how good the float model is, such as {"accuracy": 0.984}, kept in the manifest, for
            `kgated-edge check` to hold the device's own beside: accuracy, r2, mae, rmse,
            bits_per_character.

    Returns:
        The conversion: path, manifest, agreement with Keras, size.

    Warns:
        UserWarning: "int8" and a `calibration` with features so much smaller than others that the
            one scale of a frame hardly resolves them.

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
    path = check_writable(path)
    if target == "mcu":
        tflm.check_source_paths(path)
    if keras.backend.backend() == "tensorflow":
        get_ready()
    learned = Learned.of(model, recipe) if isinstance(model, QuantizeAware) else None
    layers = model if learned is None else learned.layers
    if learned is not None and (mode, lowering) == ("sequence", "auto"):
        recipe = replace(recipe, lowering="unrolled")  # a loop's body has no learned ranges
    recipe, graph, subject = subject_of(layers, recipe, length, max_length)
    _check_recipe(recipe, graph, calibration is not None or learned is not None)
    frames, outputs = frames_of(graph), results_of(graph, graph.outputs)
    check_facts(labels, sample_period_s, outputs[0])
    check_figures(figures or {})
    sequences = subject.sequences(calibration, frames)
    if recipe.is_static:
        check_constant_features(layers, skip)
    if quantize == "int8" and calibration is not None:
        warn_of_small_features(sequences, frames)
    facts = Facts(calibration, labels, sample_period_s, length, max_length, figures)
    if keras.backend.backend() != "tensorflow":
        found = run_convert(model, path, recipe, facts)
        return Conversion(path, read_manifest(path), found, path.stat().st_size)
    subject = subject if learned is None else learned.subject(subject)
    manifest = draft(model, recipe, graph, subject.golden(sequences), facts)
    made = lower(graph, recipe, marked=learned is not None)
    tflite = _fitted(_quantized(made, manifest, subject, sequences, recipe, learned), recipe)
    return _finish(path, tflite, as_stored(manifest, tflite), subject, sequences, recipe)


def subject_of(
    model: keras.Model, recipe: Recipe, length: int | None, max_length: int | None
) -> tuple[Recipe, StepModel | SequenceGraph, Target]:
    """The recipe with every choice made, the graph to lower, and what it is checked against."""
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


def _check_recipe(recipe: Recipe, step: StepModel | SequenceGraph, has_ranges: bool) -> None:
    layers = set(step.owners.values())
    counting = [name for name in step.counters if name not in recipe.skip]
    if recipe.is_static and counting:
        raise ConversionError(
            f"layer `{counting[0]}` counts the frames of a stream without end, and recipe "
            f"{recipe.name} has integers of a fixed range only; keep it in float by "
            f"`skip={counting}`, or take `quantize='dynamic'`"
        )
    if unknown := sorted(set(recipe.skip) - set(layers)):
        raise ValueError(
            f"`skip` must name layers of the model: {sorted(layers)}. Received: {unknown}"
        )
    if recipe.is_static and not has_ranges:
        raise ValueError(
            f"`quantize={recipe.quantize!r}` fixes the range of every tensor and needs "
            "`calibration`: real sequences, such as the training data; or a model that learned "
            "its ranges, from `kgated.quantize_aware`"
        )


def _quantized(
    tflite: bytes,
    draft: Manifest,
    subject: Target,
    sequences: Sequences,
    recipe: Recipe,
    learned: Learned | None,
) -> bytes:
    """The float file as the recipe wants it."""
    if not recipe.is_static:
        return quantize_file(tflite, recipe)
    ties, found = [(s.name, s.name) for s in draft.states], None
    if learned is not None:
        tflite, found = learned.ranges(tflite, ties)
        sequences = sequences[:1]  # to see that the file runs
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder, "float.tflite")
        trial.write_bytes(embed(tflite, draft))
        run_apart(trial, recipe)
        samples = subject.samples(trial, sequences)
    return quantize_apart(tflite, recipe, samples, ties, found)


def _fitted(tflite: bytes, recipe: Recipe) -> bytes:
    """The file with the operators of its target, and without what nobody reads.

    Raises:
        ConversionError: the target lacks an operator, with the layer that needs it.
    """
    if recipe.target == "mcu":
        tflite = tflm.with_known_operators(tflite)
        tflm.check_operators(tflite)  # before `slim`, which removes the names of the layers
    return slim(tflite)


def _finish(
    path: Path,
    tflite: bytes,
    draft: Manifest,
    subject: Target,
    sequences: Sequences,
    recipe: Recipe,
) -> Conversion:
    """Check the file, tighten the golden tolerance to the error measured, write it."""
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder, "trial.tflite")
        trial.write_bytes(embed(tflite, draft))
        run_apart(trial, recipe)
        on_golden = compare.replay_golden(trial)
        found = subject.compare(trial, sequences)
    compare.check_limits(on_golden, recipe, "the golden frames")
    for name, one in found.items():  # each by its own scale: a large output hides no small one
        compare.check_limits(one, recipe, f"output `{name}` over the sequences compared")
    tolerance = recipe.tolerance(on_golden.max_abs_error, on_golden.largest_output)
    manifest = replace(draft, golden=replace(draft.golden, tolerance=tolerance))
    content = embed(tflite, manifest)
    sources = {}
    if recipe.target == "mcu":
        sources = tflm.source_files(path, tflm.sources(tflite, manifest, path.stem))
    replace_files({path: content, **sources})
    return Conversion(path, read_manifest(path), found, len(content))
