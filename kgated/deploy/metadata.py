"""The options of a conversion, and the manifest that is built from them."""

import hashlib
import importlib.metadata
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import methodcaller
from pathlib import Path
from typing import Any

import keras
import numpy as np
from kgated_edge.evaluation.dataset_info import DataInfo
from kgated_edge.evaluation.limits import check_figure
from kgated_edge.format.front_end import FrontEndSpec, front_end_from_plain
from kgated_edge.format.manifest import SIGNATURES, Golden, Manifest, ModelInfo, TensorSpec

from kgated.argument_checks import as_names, as_number
from kgated.deploy.recipe import Recipe
from kgated.deploy.sequence.graph import SequenceGraph
from kgated.deploy.sequence.outputs import check_output, first_axis
from kgated.deploy.streaming import StepModel
from kgated.deploy.verification.data_description import describe
from kgated.deploy.verification.evaluation_data import Evaluated
from kgated.deploy.verification.saved_data import save_calibration, save_evaluation
from kgated.deploy.verification.sequences import Arrays, Calibration
from kgated.errors import ConversionError


@dataclass(frozen=True)
class ConversionOptions:
    """What a conversion takes beside the model and the path; the fields are those of `to_tflite`.

    Attributes:
        explain_cost: whether a quantization that costs much is converted again for each layer, to
            warn with the name of the most costly one.

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
    evaluation: Evaluated = None
    tolerance: float | None = None
    explain_cost: bool = True
    feature_names: Sequence[str] | None = None
    front_end: FrontEndSpec | None = None

    def __post_init__(self) -> None:
        if self.tolerance is not None and not 0.0 < self.tolerance < float("inf"):
            raise ValueError(f"`tolerance` must be above 0. Received: {self.tolerance!r}")
        if not all(isinstance(x, str) and len(x.splitlines()) == 1 for x in self.labels or ()):
            raise ValueError(f"`labels` must be names of one line each. Received: {self.labels!r}")
        if self.sample_period_s is not None and not 0.0 < self.sample_period_s < float("inf"):
            raise ValueError(
                f"`sample_period_s` must be above 0. Received: {self.sample_period_s!r}"
            )
        for name, value in (self.figures or {}).items():
            try:
                check_figure(name, value)
            except ValueError as error:
                raise ValueError(f"`figures` {error}") from None

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        calibration: Calibration,
        labels: Any,
        sample_period_s: Any,
        length: Any,
        max_length: Any,
        figures: Any,
        evaluation: Evaluated = None,
        tolerance: Any = None,
    ) -> "ConversionOptions":
        """The options as a caller gives them: names from any iterable, numbers of any library.

        Raises:
            TypeError: labels that are no list, a period that is no number, figures by no name.
            ValueError: as from the class.
        """
        if figures is not None and not isinstance(figures, Mapping):
            raise TypeError(
                "`figures` must be numbers by name, such as {'accuracy': 0.98}. Received: "
                f"{figures!r}"
            )
        names = None if labels is None else as_names("labels", labels)
        is_none = sample_period_s is None
        period = None if is_none else as_number("sample_period_s", sample_period_s)
        facts = (calibration, names, period, length, max_length, figures)
        return cls(recipe, *facts, evaluation, tolerance)

    def described(
        self, model: keras.Model, frames: tuple[TensorSpec, ...], output: TensorSpec
    ) -> "ConversionOptions":
        """The options with labels, period, names and front end as far as they are known.

        Raises:
            ValueError: a sample period that differs from that of the front end.
        """
        given = DataInfo(
            None if self.labels is None else tuple(self.labels),
            None if self.feature_names is None else tuple(self.feature_names),
            self.sample_period_s,
            self.front_end,
        )
        info = describe(given, model, self.calibration, frames, output)
        return replace(
            self,
            labels=info.class_names,
            feature_names=info.feature_names,
            front_end=info.front_end,
            sample_period_s=info.sample_period_s,
        )

    def check_labels(self, output: TensorSpec) -> None:
        """Refuse labels that do not fit the first output.

        Raises:
            ValueError: with how many they must be.
        """
        if self.labels is not None and len(self.labels) != output.shape[-1]:
            raise ValueError(
                f"`labels` must name the {output.shape[-1]} outputs. "
                f"Received {len(self.labels)} names"
            )

    def save(self, folder: Path) -> None:
        """Write the options as data: JSON, and the calibration as an `.npz` file beside it."""
        document = {name: getattr(self, name) for name in _PLAIN_FIELDS}
        document |= {"recipe": self.recipe.as_dict(), "labels": self.labels and list(self.labels)}
        document["feature_names"] = self.feature_names and list(self.feature_names)
        document["front_end"] = self.front_end and self.front_end.to_plain()
        if self.calibration is not None:
            document["calibration"] = str(save_calibration(self.calibration, folder))
        if self.evaluation is not None:
            document["evaluation"] = str(save_evaluation(self.evaluation, folder))
        text = json.dumps(document, default=methodcaller("item"))  # NumPy's numbers
        (folder / "options.json").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "ConversionOptions":
        """Read what `save` wrote."""
        document = json.loads((folder / "options.json").read_text(encoding="utf-8"))
        front_end = document["front_end"] and front_end_from_plain(document["front_end"])
        recipe = Recipe.from_dict(document["recipe"])
        return cls(**{**document, "recipe": recipe, "front_end": front_end})


_PLAIN_FIELDS = ("sample_period_s", "length", "max_length", "figures", "tolerance", "explain_cost")


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
    is_sequence = isinstance(graph, SequenceGraph)
    first = {name: first_axis(name, graph.single, is_sequence) for name in names}
    for name, x in tensors.items():
        check_output(name, x, first[name])
    return tuple(TensorSpec(name, x.shape[first[name] :], x.dtype) for name, x in tensors.items())


def model_info(model: keras.Model) -> ModelInfo:
    """The float model's name, digest and size."""
    digest = hashlib.sha256(json.dumps(_config(model), sort_keys=True, default=str).encode())
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return ModelInfo(model.name, digest.hexdigest(), model.count_params())


def notes_on_default_mode(model: keras.Model) -> tuple[str, ...]:
    """What to know where no mode was given and a window may have been meant; it is logged, too."""
    shape = model.inputs[0].shape
    frames = shape[1] if len(shape) > 1 else None
    if frames is None:
        return ()
    note = (
        f"the `Input` of model `{model.name}` has a fixed length of {frames} frames, and the file "
        "takes a stream, one frame per call, since `mode` was not given; for a model trained on "
        f'windows of {frames} frames, to answer once for each, give `mode="sequence"`; else give '
        '`mode="stream"`'
    )
    logging.getLogger("kgated").warning(note)
    return (note,)


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
