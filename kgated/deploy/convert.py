"""Converts a Keras model to a verified `.tflite` file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.reader import read_manifest

from kgated.argument_checks import as_names, as_path
from kgated.atomic_write import check_writable, replace_files
from kgated.deploy import target_sources
from kgated.deploy.from_qat.export import QatExport
from kgated.deploy.lowering.converter import lower
from kgated.deploy.manifest_writer import manifest_in
from kgated.deploy.metadata import (
    Conversion,
    ConversionOptions,
    build_manifest,
    check_recipe,
    frames_of,
    notes_on,
    results_of,
)
from kgated.deploy.other_backend import convert_on_tensorflow, convert_saved
from kgated.deploy.quantization.finish import finish
from kgated.deploy.recipe import Recipe
from kgated.deploy.sequence.graph import SequenceGraph
from kgated.deploy.sequence.preprocessing import check_decibels
from kgated.deploy.streaming import StepModel
from kgated.deploy.text.cut import cut_text
from kgated.deploy.text.vocabularies import Given, as_vocabulary
from kgated.deploy.tflite.float_file import FloatFile
from kgated.deploy.tflite.layer_table import LayerTable
from kgated.deploy.verification.accuracy import Evaluation
from kgated.deploy.verification.compare import Agreement
from kgated.deploy.verification.data.feature_ranges import (
    check_constant_features,
    feature_statistics,
    warn_of_small_features,
)
from kgated.deploy.verification.data.sequences import Calibration, Sequences
from kgated.deploy.verification.evaluation_data import ComparedData, Evaluated
from kgated.deploy.verification.float_stage import FloatStage
from kgated.deploy.verification.judge import judge_content, warn_of_cost
from kgated.deploy.verification.range_coverage import check_coverage
from kgated.deploy.verification.target_choice import layer_names, target_of
from kgated.deploy.verification.targets import Target
from kgated.deploy.worker import start_worker
from kgated.finite_weights import check_finite_weights
from kgated.keras_internals.graph import no_mask_warnings
from kgated.keras_internals.patches import float32_layers
from kgated.keras_internals.subclassed_models import as_functional
from kgated.optimize import QuantizeAware
from kgated_worker import listening

CONVERT_SAVED = "kgated.deploy.convert:convert_saved_job"


def to_tflite(
    model: keras.Model,
    path: str | Path,
    *,
    mode: str | None = None,
    quantize: str = "none",
    state: str = "external",
    skip: Sequence[str] = (),
    target: str = "cpu",
    lowering: str = "auto",
    length: int | None = None,
    max_length: int | None = None,
    batch: int = 1,
    calibration: Calibration = None,
    calibration_method: str = "minmax",
    percentile: float = 99.99,
    evaluation: Evaluated = None,
    tolerance: float | None = None,
    labels: Sequence[str] | None = None,
    sample_period_s: float | None = None,
    figures: Mapping[str, float] | None = None,
    vocabulary: Given = None,
    threshold: float | None = None,
    sessions: int = 1,
    block: int = 1,
    results: str = "auto",
    progress: Callable[[str], None] | None = None,
) -> Conversion:
    """Convert a Keras model into one `.tflite` file of builtin ops, checked against the model.

    The float file is compared with the Keras model on real or random sequences, and refused unless
    it is exact. What its quantization costs is reported; a quantized file is refused if it is
    broken, or over the `tolerance`. It is written whole, in place of an older file.

    Args:
        model: functional, Sequential, made by `kgated.quantize_aware`, or a subclassed model that
            was called or built and whose `call` takes symbolic inputs, from (batch, time,
            features) or (batch, time) tokens, one input or several, of recurrent layers, causal
            convolution, pooling, and layers that act on each frame alone. Where strides make k
            frames a step, so does the file.
        path: the file to write.
        mode: "stream": signature `step`, a frame and the states in, the result and the states out;
            "sequence": signature `serve`, a whole sequence in, its result out. A sequence may be
            processed in both directions, by Bidirectional layers or `go_backwards`; inputs may be
            vectors without time beside the sequences. None: "stream", and where the model's `Input`
            has a fixed number of frames, a note that says so, see `Conversion.notes`.
        quantize: "none"; "float16": weights in half the size; "dynamic": int8 weights, float state;
            "dynamic4": 4-bit weights; "int8": int8 throughout, in, out and state too; "int16x8":
            the same with int16 and int8 weights.
        state: "external": inputs and outputs of the signature, which `kgated_edge` carries;
            "internal": variables in the file, and a signature `reset`.
        skip: names of layers that stay in float.
        target: "cpu": any device that runs LiteRT; "mcu": TensorFlow Lite Micro, for "int8" and
            "int16x8", with C++ sources NAME.h and NAME.cc beside NAME.tflite; "c": any device that
            has a C99 compiler, with sources NAME.h and NAME.c beside NAME.tflite that need no
            runtime, for "none", "dynamic", "dynamic4" and "int8"; `path` may be NAME.c, too.
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
        calibration_method: of a range: "minmax", the extremes; "percentile", the extremes but those
            of outliers; "mse", the range of the smallest rounding error.
        percentile: for "percentile", of the extremes of the sequences.
        evaluation: other sequences to report on, as `calibration` has them; a tuple (x, y) or
            (x, y, lengths), or a data set with `y`, gives the accuracy of both models, too.
        tolerance: the largest RMSE allowed, relative to the spread of the output; None: any.
        labels: a name for each entry of the first output, kept in the manifest. None: the class
            names of a model of `kgated train`, else those of the calibration file.
        sample_period_s: seconds from one frame to the next, kept in the manifest; None: as for
            `labels`. Feature names and front end come from there, too.
        figures: how good the float model is, such as {"accuracy": 0.984}, kept in the manifest, to
            which `kgated-edge check` compares the device's own: accuracy, r2, mae, rmse,
            bits_per_character.
        vocabulary: the tokens of the input's ids, in their order, kept in the manifest; or a dict
            or layer that says how texts become ids, as `kgated_edge.text.build_vocabulary` takes
            it. Not needed for a model that begins with TextVectorization, StringLookup or
            IntegerLookup: it is cut there, and the file takes ids.
        threshold: for a first output of one number: from which value on the decision is the second
            label; None: 0.5.
        sessions: of a stream: signatures of the step for up to so many sessions at once, beside
            that for one, with the same weights: `kgated_edge.SessionPool` takes ready sessions
            together with them. The results of a session do not depend on its neighbours.
        block: of a stream: frames a step takes, (block, *frame). The products of all frames with
            the input weights of a recurrent layer are one then, and a frame costs less; its result
            comes when the block is complete.
        results: of a block: "each": a result for every frame, or for every stride of frames where
            the layers have strides; "last": the last one; "auto": "each" where the model has a
            result per frame.
        progress: called with the name of each stage that begins, also from another thread.

    Returns:
        The conversion: path, manifest, agreement with Keras, size.

    Warns:
        UserWarning: "int8" and a `calibration` with features so much smaller than others that the
            scale, which all features share, hardly resolves them; a quantization that costs much,
            with the layer that costs most.

    Raises:
        ConversionError: a layer can't stream, a layer in front computes more than ids of texts, the
            converter fails or crashes, the float file disagrees with Keras, the quantized one is
            broken or over the `tolerance`.
        TypeError: `model` is no Keras model.
        ValueError: an unknown `mode`, `quantize`, `state`, `lowering` or name in `skip`; no
            `calibration` where there must be one; no `length` where the model has none; `labels`,
            `sample_period_s`, `figures`, `calibration` or `evaluation` that do not fit the model.
        OSError: `path` can't be written.
    """
    chosen, skipped = "stream" if mode is None else mode, as_names("skip", skip)
    more = (calibration_method, percentile, sessions, block, results)
    recipe = Recipe(chosen, quantize, state, skipped, target, lowering, batch, *more)
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a Keras model. Received: {model!r}")
    facts: dict[str, Any] = {"labels": labels, "figures": figures, "threshold": threshold}
    facts |= {"sample_period_s": sample_period_s, "vocabulary": as_vocabulary(vocabulary)}
    facts |= {"calibration": calibration, "evaluation": evaluation, "tolerance": tolerance}
    options = ConversionOptions.of(recipe, length=length, max_length=max_length, **facts)
    with listening(progress):
        conversion = convert(model, as_path("path", path), options)
    return replace(conversion, notes=notes_on(model, mode))


@no_mask_warnings()
@float32_layers()
def convert(model: keras.Model, path: Path, options: ConversionOptions) -> Conversion:
    """`to_tflite` with its options as data."""
    recipe = options.recipe
    path = check_writable(target_sources.model_path(path, recipe))
    target_sources.check_source_paths(path, recipe)
    start_worker()
    model, cut = (model, {}) if isinstance(model, QuantizeAware) else cut_text(as_functional(model))
    qat = QatExport.of(model, recipe) if isinstance(model, QuantizeAware) else None
    layers = model if qat is None else qat.layers
    check_finite_weights(layers)
    if qat is not None and (recipe.mode, recipe.lowering) == ("sequence", "auto"):
        recipe = replace(recipe, lowering="unrolled")  # QAT has no ranges inside a loop's body
    recipe, graph, target = target_of(layers, recipe, options.length, options.max_length)
    check_recipe(recipe, graph, options.calibration is not None, qat is not None)
    first, is_fixed = results_of(graph, graph.outputs)[0], recipe.mode == "sequence"
    frames, size = frames_of(graph), None
    if is_fixed and not graph.padded:
        size = graph.frames_per_step
    options = options.described(model, frames, first).with_vocabularies(frames, cut, size)
    sequences = _sequences(layers, graph, target, replace(options, recipe=recipe))
    if keras.backend.backend() != "tensorflow":
        own = replace(options, recipe=recipe)
        outputs, evaluation = convert_on_tensorflow(model, path, own, CONVERT_SAVED)
        size = path.stat().st_size
        return Conversion(path, read_manifest(path), outputs, size, evaluation)
    final = target if qat is None else qat.target(target)  # of a trained model its integers, too
    manifest = build_manifest(model, recipe, graph, final.golden(sequences), options)
    if options.calibration is not None:
        statistics = feature_statistics(sequences, manifest.frames)
        manifest = replace(manifest, feature_statistics=statistics)
    compared = ComparedData.of(options.evaluation, manifest, target, sequences)
    content, stage = _build(graph, manifest, target, sequences, recipe, qat)
    judgement, content = judge_content(content, final, compared, recipe, options.tolerance)
    manifest = manifest_in(content)
    stream = partial(_convert_stream, model, options=options)
    sources = target_sources.source_files(path, content, manifest, recipe, stream)
    replace_files({path: content, **sources})
    if stage is not None and options.explain_cost:
        names = layer_names(layers, graph)
        warn_of_cost(judgement, recipe, lambda: stage.costs(recipe, names, final, compared.main))
    return Conversion(path, manifest, judgement.outputs, len(content), judgement.evaluation)


def _convert_stream(model: keras.Model, path: Path, options: ConversionOptions) -> None:
    """The model of a sequence as a stream of one row, for C sources."""
    recipe = replace(options.recipe, mode="stream", lowering="auto", batch=1)
    plain = replace(options, length=None, max_length=None, evaluation=None, tolerance=None)
    plain = replace(plain, vocabularies={})  # they are by input, and a stream's has another name
    convert(model, path, replace(plain, recipe=recipe, explain_cost=False))


def convert_saved_job(folder: str) -> None:
    """The worker's part of a conversion from another backend; see `convert_on_tensorflow`."""
    import kgated.models  # noqa: F401 - registers the layers and the language model

    def call(*arguments: Any) -> tuple[Mapping[str, Agreement], Evaluation | None]:
        conversion = convert(*arguments)
        return conversion.outputs, conversion.evaluation

    convert_saved(Path(folder), call)


def _sequences(
    layers: keras.Model,
    graph: StepModel | SequenceGraph,
    target: Target,
    options: ConversionOptions,
) -> Sequences:
    """Check that the options fit the model, and return the sequences to compare on."""
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


def _build(
    graph: StepModel | SequenceGraph,
    manifest: Manifest,
    target: Target,
    sequences: Sequences,
    recipe: Recipe,
    qat: QatExport | None,
) -> tuple[bytes, FloatStage | None]:
    """The file as the recipe wants it, with its manifest, and what it was quantized from."""
    model, ranges = lower(graph, recipe, has_markers=qat is not None), None
    file = FloatFile(model, LayerTable.from_names(model))
    if recipe.quantization.is_float:
        return finish(model, file.layers, recipe, manifest), None
    if qat is not None:
        file, ranges = qat.float_file(
            model, [(state.name, state.name) for state in manifest.states]
        )
    stage = FloatStage.of(file, manifest, target, sequences, recipe, ranges)
    content = stage.quantized(recipe)
    if recipe.is_static and qat is None:
        check_coverage(manifest_in(content), stage.samples.inputs, recipe.calibration_method)
    return content, stage
