"""The options of a conversion, and the manifest that is built from them."""

import hashlib
import importlib.metadata
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import methodcaller
from pathlib import Path
from typing import Any

import keras
import numpy as np
from kgated_edge.evaluation.limits import METRICS
from kgated_edge.format.manifest import (
    DEFAULT_THRESHOLD,
    SIGNATURES,
    Golden,
    Manifest,
    ModelInfo,
    TensorSpec,
)
from kgated_edge.format.vocabulary import Vocabulary

from kgated.deploy.recipe import Recipe
from kgated.deploy.sequence.graph import SequenceGraph
from kgated.deploy.streaming import StepModel
from kgated.deploy.text.vocabularies import by_input, encoded
from kgated.deploy.verification.sequences import Arrays, Calibration
from kgated.errors import ConversionError


@dataclass(frozen=True)
class ConversionOptions:
    """What a conversion takes beside the model and the path; the fields are those of `to_tflite`.

    Raises:
        ValueError: labels, a period or figures that no model has.
    """

    recipe: Recipe
    calibration: Calibration = None
    labels: Sequence[str] | None = None
    sample_period_s: float | None = None
    length: int | None = None
    max_length: int | None = None
    figures: Mapping[str, float] | None = None
    vocabulary: Vocabulary | None = None
    threshold: float | None = None
    vocabularies: Mapping[str, Vocabulary] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not all(isinstance(x, str) and len(x.splitlines()) == 1 for x in self.labels or ()):
            raise ValueError(f"`labels` must be names of one line each. Received: {self.labels!r}")
        if self.sample_period_s is not None and not 0.0 < self.sample_period_s < float("inf"):
            raise ValueError(
                f"`sample_period_s` must be above 0. Received: {self.sample_period_s!r}"
            )
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise ValueError(f"`threshold` must be a finite number. Received: {self.threshold!r}")
        for name, value in (self.figures or {}).items():
            known = name in METRICS and isinstance(value, int | float)
            if not known or not math.isfinite(value):
                raise ValueError(
                    f"`figures` must be finite numbers for some of {list(METRICS)}. Received: "
                    f"{name}={value!r}"
                )

    def check_labels(self, output: TensorSpec) -> None:
        """Refuse labels, or a threshold, that do not fit the first output.

        Raises:
            ValueError: with how many they must be.
        """
        if self.threshold is not None and output.size != 1:
            raise ValueError(
                f"`threshold` is for a first output of one number. This one has {output.size}"
            )
        is_binary = output.size == 1 and len(self.labels or ()) == 2
        if self.labels is not None and not is_binary and len(self.labels) != output.shape[-1]:
            raise ValueError(
                f"`labels` must name the {output.shape[-1]} outputs. "
                f"Received {len(self.labels)} names"
            )

    def with_vocabularies(
        self, frames: Sequence[TensorSpec], cut: Mapping[int, Vocabulary], length: int | None
    ) -> "ConversionOptions":
        """The options with a vocabulary by input, and ids in place of texts in the calibration.

        Args:
            frames: one frame of each input, in the model's order.
            cut: by place of an input the vocabulary of the layer that was cut off.
            length: of the file's sequences, where it is fixed.

        Raises:
            ValueError: a vocabulary that does not fit the model, a text that it has no ids for.
        """
        vocabularies = self.vocabularies
        if not vocabularies:
            vocabularies = by_input(frames, cut, self.vocabulary, length)
        calibration = encoded(self.calibration, frames, vocabularies)
        return replace(self, vocabulary=None, vocabularies=vocabularies, calibration=calibration)

    def save(self, folder: Path) -> None:
        """Write the options as data: JSON, and the calibration as an `.npz` file beside it."""
        document = {name: getattr(self, name) for name in _PLAIN_FIELDS}
        document |= {"recipe": self.recipe.as_dict(), "labels": self.labels and list(self.labels)}
        vocabularies = self.vocabularies.items()
        document["vocabularies"] = {name: words.to_plain() for name, words in vocabularies}
        if self.calibration is not None:
            document["calibration"] = str(save_calibration(self.calibration, folder))
        text = json.dumps(document, default=methodcaller("item"))  # NumPy's numbers
        (folder / "options.json").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "ConversionOptions":
        """Read what `save` wrote."""
        document = json.loads((folder / "options.json").read_text(encoding="utf-8"))
        vocabularies = {
            name: Vocabulary(**{**plain, "tokens": tuple(plain["tokens"])})
            for name, plain in document["vocabularies"].items()
        }
        recipe = Recipe.from_dict(document["recipe"])
        return cls(**{**document, "recipe": recipe, "vocabularies": vocabularies})


_PLAIN_FIELDS = ("sample_period_s", "length", "max_length", "figures", "threshold")


def save_calibration(calibration: Any, folder: Path) -> Path:
    """The file of a calibration data set, written into the folder unless it is one already."""
    if isinstance(calibration, str | Path):
        return Path(calibration).resolve()
    path = folder / "calibration.npz"
    if isinstance(calibration, np.ndarray):
        np.savez(path, x=calibration)
    elif isinstance(calibration, Mapping):
        np.savez(path, **calibration)
    else:
        arrays = calibration.inputs or {"x": calibration.x}
        np.savez(path, lengths=calibration.lengths, **arrays)
    return path


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
        figures=dict(options.figures or {}),
        threshold=DEFAULT_THRESHOLD if options.threshold is None else float(options.threshold),
        vocabularies=options.vocabularies,
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
    timed = set(names) - set(graph.single) if isinstance(graph, SequenceGraph) else set()
    first = {name: 2 if name in timed else 1 for name in names}
    for name, x in tensors.items():
        if None in x.shape or 0 in x.shape or len(x.shape) == first[name] or x.dtype != "float32":
            raise ConversionError(
                f"output `{name}` has shape {x.shape} and dtype {x.dtype}; needed are float32 "
                "numbers on an axis of their own, as many as are known beforehand"
            )
    return tuple(TensorSpec(name, x.shape[first[name] :], x.dtype) for name, x in tensors.items())


def model_info(model: keras.Model) -> ModelInfo:
    """The float model's name, digest and size."""
    digest = hashlib.sha256(json.dumps(_config(model), sort_keys=True, default=str).encode())
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return ModelInfo(model.name, digest.hexdigest(), model.count_params())


def check_recipe(recipe: Recipe, step: StepModel | SequenceGraph, has_ranges: bool) -> None:
    """Refuse a recipe that does not fit the graph.

    Args:
        recipe: with every choice made.
        step: the graph to convert.
        has_ranges: whether there are calibration sequences, or ranges from QAT.

    Raises:
        ConversionError: a layer counts frames without end, and the recipe has integers.
        ValueError: `skip` names no layer of the model; a static recipe without ranges.
    """
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


def _config(model: keras.Model) -> Any:
    """The model's configuration; the names of its layers where one has no `get_config`."""
    try:
        return model.get_config()
    except NotImplementedError:
        return [layer.name for layer in model.layers]
