"""The manifest of a file, built from the model and the options of its conversion."""

import hashlib
import importlib.metadata
import json
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from kgated_edge.format.manifest import (
    DEFAULT_THRESHOLD,
    SIGNATURES,
    Golden,
    Manifest,
    ModelInfo,
    TensorSpec,
)

from kgated.deploy.metadata.options import ConversionOptions
from kgated.deploy.recipe import Recipe
from kgated.deploy.sequence.graph import SequenceGraph
from kgated.deploy.sequence.outputs import check_output, first_axis
from kgated.deploy.streaming import StepModel
from kgated.deploy.verification.data.sequences import Arrays
from kgated.errors import ConversionError

TOOLS = ("kgated", "keras", "tensorflow", "ai-edge-quantizer", "ai-edge-litert")


def build_manifest(
    model: keras.Model,
    recipe: Recipe,
    graph: StepModel | SequenceGraph,
    golden: tuple[Arrays, Arrays],
    options: ConversionOptions,
) -> Manifest:
    """The manifest before the file is there: its tensors in float, the tolerance at its limit.

    Args:
        model: the Keras model.
        recipe: with every choice made.
        graph: what is lowered.
        golden: frames, and Keras's outputs for them.
        options: of the conversion.
    """
    largest = max(float(np.abs(array).max()) for array in golden[1].values())
    if not np.isfinite(largest):
        raise ConversionError(
            f"the outputs of model `{model.name}` itself are NaN or inf on the sequences compared; "
            "scale its inputs as in training, or give `calibration` that is like them"
        )
    external = recipe.state == "external"
    return Manifest(
        mode=recipe.mode,
        signature=SIGNATURES[recipe.mode],
        recipe=recipe.as_dict(),
        frames=frames_of(graph),
        frames_per_step=graph.frames_per_step,
        outputs=results_of(graph, graph.outputs),
        state=recipe.state,
        states=results_of(graph, graph.states) if external else (),
        labels=None if options.labels is None else tuple(options.labels),
        sample_period_s=options.sample_period_s,
        feature_names=None if options.feature_names is None else tuple(options.feature_names),
        front_end=options.front_end,
        figures={name: float(value) for name, value in (options.figures or {}).items()},
        threshold=DEFAULT_THRESHOLD if options.threshold is None else float(options.threshold),
        vocabularies=options.vocabularies,
        model=model_info(model),
        tools={name: importlib.metadata.version(name) for name in TOOLS},
        golden=Golden(*golden, recipe.limit(largest)),
        each_frame=isinstance(graph, SequenceGraph) and not set(graph.outputs) <= set(graph.single),
        padded=graph.padded,
        single=graph.single,
        batch=recipe.batch,
        results_per_step=graph.results_per_step if isinstance(graph, StepModel) else 1,
    )


def frames_of(step: StepModel | SequenceGraph) -> tuple[TensorSpec, ...]:
    """One frame of each input."""
    has_time = isinstance(step, SequenceGraph) or step.frames_per_step > 1
    specs = []
    for name in step.frames:
        x, axes = step.model.input[name], 2 if has_time and name not in step.single else 1
        vocabulary = step.vocabulary.get(name)
        specs.append(TensorSpec(name, x.shape[axes:], x.dtype, vocabulary=vocabulary))
    return tuple(specs)


def results_of(graph: StepModel | SequenceGraph, names: Sequence[str]) -> tuple[TensorSpec, ...]:
    """One result of each of some outputs.

    Raises:
        ConversionError: one is no float array of a known size.
    """
    tensors = {name: graph.model.output[name] for name in names}
    is_sequence = isinstance(graph, SequenceGraph)
    has_time = is_sequence
    if isinstance(graph, StepModel) and names == graph.outputs:
        has_time = graph.results_per_step > 1
    first = {name: first_axis(name, graph.single, has_time) for name in names}
    for name, x in tensors.items():
        check_output(name, x, first[name])
    return tuple(TensorSpec(name, x.shape[first[name] :], x.dtype) for name, x in tensors.items())


def model_info(model: keras.Model) -> ModelInfo:
    """The float model's name, digest and size."""
    digest = hashlib.sha256(json.dumps(_config(model), sort_keys=True, default=str).encode())
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return ModelInfo(model.name, digest.hexdigest(), model.count_params())


def check_recipe(
    recipe: Recipe, step: StepModel | SequenceGraph, is_calibrated: bool, is_trained: bool = False
) -> None:
    """Refuse a recipe that does not fit the graph.

    Args:
        recipe: with every choice made.
        step: the graph to convert.
        is_calibrated: whether there are calibration sequences.
        is_trained: whether there are ranges from quantization-aware training.

    Raises:
        ConversionError: a layer counts frames without end, and the recipe has integers.
        ValueError: `skip` names no layer of the model; a static recipe without ranges; several
            results per step for a microcontroller.
    """
    layers = set(step.owners.values())
    counting = [name for name in step.counters if name not in recipe.skip]
    if recipe.is_static and counting:
        raise ConversionError(
            f"layer `{counting[0]}` sums over a stream without end, and recipe "
            f"{recipe.name} has integers of a fixed range only; "
            f"{_counting_remedy(recipe, counting, is_trained)}"
        )
    if unknown := sorted(set(recipe.skip) - set(layers)):
        raise ValueError(
            f"`skip` must name layers of the model: {sorted(layers)}. Received: {unknown}"
        )
    if recipe.target == "mcu" and isinstance(step, StepModel) and step.results_per_step > 1:
        raise ValueError(
            "`target='mcu'` makes sources that return one result per call, and a `block` of "
            f"{recipe.block} frames has {step.results_per_step}; take `results='last'`"
        )
    if recipe.is_static and not (is_calibrated or is_trained):
        raise ValueError(
            f"`quantize={recipe.quantize!r}` fixes the range of every tensor and needs "
            "`calibration`: real sequences, such as the training data; or a model that learned "
            "its ranges, from `kgated.quantize_aware`"
        )


def _counting_remedy(recipe: Recipe, counting: list[str], is_trained: bool) -> str:
    """What to do with layers that count frames without end."""
    if recipe.target == "mcu":  # integers throughout
        return (
            "take `mode='sequence'`, or in place of the layer the last result of a recurrent layer"
        )
    in_float = f"`skip={counting}`, or take `quantize='dynamic'`"
    if is_trained:  # its recipe is fixed
        return (
            "convert the model with `mode='sequence'`, or its layers in float, `model.inner`, with "
            f"`calibration` and {in_float}"
        )
    return f"keep it in float by {in_float}"


def _config(model: keras.Model) -> Any:
    """The model's configuration; the names of its layers where one has no `get_config`."""
    try:
        return model.get_config()
    except NotImplementedError:
        return [layer.name for layer in model.layers]
