"""What the manifest says of a model and its graph."""

import hashlib
import importlib.metadata
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from kgated_edge.evaluation.limits import METRICS
from kgated_edge.format.manifest import Golden, Manifest, ModelInfo, TensorSpec

from kgated.deploy.lowering.converter import SIGNATURES
from kgated.deploy.recipe import Recipe
from kgated.deploy.sequence.graph import SequenceGraph
from kgated.deploy.streaming import StepModel
from kgated.deploy.verification.sequences import Arrays
from kgated.errors import ConversionError


@dataclass(frozen=True)
class Facts:
    """What a conversion is told beside its recipe, as `to_tflite` takes it."""

    calibration: Any
    labels: Sequence[str] | None
    sample_period_s: float | None
    length: int | None
    max_length: int | None
    figures: Mapping[str, float] | None = None


TOOLS = ("kgated", "keras", "tensorflow", "ai-edge-quantizer", "ai-edge-litert")


def draft(
    model: keras.Model,
    recipe: Recipe,
    graph: StepModel | SequenceGraph,
    golden: tuple[Arrays, Arrays],
    facts: Facts,
) -> Manifest:
    """The manifest before the file is there: its tensors in float, the tolerance at its limit.

    Args:
        model: the Keras model.
        recipe: with every choice made.
        graph: what is lowered.
        golden: frames, and what Keras answers to them.
        facts: what the caller told.
    """
    largest = max(float(np.abs(array).max()) for array in golden[1].values())
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
        labels=None if facts.labels is None else tuple(facts.labels),
        sample_period_s=facts.sample_period_s,
        figures=dict(facts.figures or {}),
        model=model_info(model),
        tools={name: importlib.metadata.version(name) for name in TOOLS},
        golden=Golden(*golden, recipe.limit(largest)),
        each_frame=isinstance(graph, SequenceGraph) and not set(graph.outputs) <= set(graph.single),
        padded=graph.padded,
        single=graph.single,
        batch=recipe.batch,
    )


def frames_of(step: StepModel | SequenceGraph) -> tuple[TensorSpec, ...]:
    """One frame of each input."""
    has_time = isinstance(step, SequenceGraph) or step.frames_per_step > 1
    found = []
    for name in step.frames:
        x, axes = step.model.input[name], 2 if has_time and name not in step.single else 1
        vocabulary = step.vocabulary.get(name)
        found.append(TensorSpec(name, x.shape[axes:], x.dtype, vocabulary=vocabulary))
    return tuple(found)


def results_of(graph: StepModel | SequenceGraph, names: Sequence[str]) -> tuple[TensorSpec, ...]:
    """One result of each of some outputs.

    Raises:
        ConversionError: one is no float array of a known size.
    """
    tensors = {name: graph.model.output[name] for name in names}
    timed = set(names) - set(graph.single) if isinstance(graph, SequenceGraph) else set()
    first = {name: 2 if name in timed else 1 for name in names}
    for name, x in tensors.items():
        if None in x.shape or 0 in x.shape or len(x.shape) == first[name] or x.dtype != "float32":
            raise ConversionError(
                f"output `{name}` has shape {x.shape} and dtype {x.dtype}; needed are float32 "
                "numbers on an axis of their own, as many as are known beforehand"
            )
    return tuple(TensorSpec(name, x.shape[first[name] :], x.dtype) for name, x in tensors.items())


def check_facts(
    labels: Sequence[str] | None, sample_period_s: float | None, output: TensorSpec
) -> None:
    """Refuse labels and a period that do not fit the first output.

    Raises:
        ValueError: with what they must be.
    """
    if labels is not None and len(labels) != output.shape[-1]:
        raise ValueError(
            f"`labels` must name the {output.shape[-1]} outputs. Received {len(labels)} names"
        )
    if not all(isinstance(name, str) and len(name.splitlines()) == 1 for name in labels or ()):
        raise ValueError(f"`labels` must be names of one line each. Received: {labels!r}")
    if sample_period_s is not None and not 0.0 < sample_period_s < float("inf"):
        raise ValueError(f"`sample_period_s` must be above 0. Received: {sample_period_s!r}")


def check_figures(figures: Mapping[str, float]) -> None:
    """Refuse figures that `kgated-edge check` does not know, or that are no numbers."""
    for name, value in figures.items():
        if name not in METRICS or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(
                f"`figures` must be finite numbers for some of {list(METRICS)}. Received: "
                f"{name}={value!r}"
            )


def model_info(model: keras.Model) -> ModelInfo:
    """The float model's name, digest and size."""
    digest = hashlib.sha256(json.dumps(model.get_config(), sort_keys=True, default=str).encode())
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return ModelInfo(model.name, digest.hexdigest(), model.count_params())
