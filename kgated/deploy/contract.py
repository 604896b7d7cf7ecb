"""What the manifest says of a model and its graph."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence

import keras
import numpy as np
from kgated_edge.limits import FIGURES
from kgated_edge.manifest import ModelInfo, TensorSpec

from kgated.deploy.sequence import SequenceGraph
from kgated.deploy.streaming import StepModel
from kgated.errors import ConversionError


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
        if name not in FIGURES or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(
                f"`figures` must be finite numbers for some of {list(FIGURES)}. Received: "
                f"{name}={value!r}"
            )


def model_info(model: keras.Model) -> ModelInfo:
    """The float model's name, digest and size."""
    digest = hashlib.sha256(json.dumps(model.get_config(), sort_keys=True, default=str).encode())
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return ModelInfo(model.name, digest.hexdigest(), model.count_params())
