"""The options of a conversion as data."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from operator import methodcaller
from pathlib import Path
from typing import Any

import keras
from kgated_edge.evaluation.dataset_info import DataInfo
from kgated_edge.evaluation.limits import check_figure
from kgated_edge.format.front_end import FrontEndSpec, front_end_from_plain
from kgated_edge.format.manifest import TensorSpec
from kgated_edge.format.vocabulary import Vocabulary

from kgated.argument_checks import as_names, as_number
from kgated.deploy.recipe import Recipe
from kgated.deploy.text.vocabularies import by_input, encoded
from kgated.deploy.verification.data.data_description import describe
from kgated.deploy.verification.data.sequences import Calibration
from kgated.deploy.verification.evaluation_data import Evaluated
from kgated.deploy.verification.saved_data import save_calibration, save_evaluation

_PLAIN_FIELDS = (
    *("sample_period_s", "length", "max_length", "figures", "tolerance", "explain_cost"),
    "threshold",
)


@dataclass(frozen=True)
class ConversionOptions:
    """The options of a conversion, with the names of the arguments of `to_tflite`.

    Attributes:
        explain_cost: whether a quantization that costs much is converted again for each layer, to
            warn with the name of the most costly one.
        vocabularies: by input, once they are known.

    Raises:
        ValueError: labels, a period, a threshold, a tolerance or figures that no model has.
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
    vocabulary: Vocabulary | None = None
    threshold: float | None = None
    vocabularies: Mapping[str, Vocabulary] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.tolerance is not None and not 0.0 < self.tolerance < float("inf"):
            raise ValueError(f"`tolerance` must be above 0. Received: {self.tolerance!r}")
        if not all(isinstance(x, str) and len(x.splitlines()) == 1 for x in self.labels or ()):
            raise ValueError(f"`labels` must be names of one line each. Received: {self.labels!r}")
        if len(set(self.labels or ())) < len(self.labels or ()):
            raise ValueError(f"`labels` must be different names. Received: {self.labels!r}")
        if self.sample_period_s is not None and not 0.0 < self.sample_period_s < float("inf"):
            raise ValueError(
                f"`sample_period_s` must be above 0. Received: {self.sample_period_s!r}"
            )
        if self.threshold is not None and not isfinite(self.threshold):
            raise ValueError(f"`threshold` must be a finite number. Received: {self.threshold!r}")
        for name, value in (self.figures or {}).items():
            try:
                check_figure(name, value)
            except ValueError as error:
                raise ValueError(f"`figures` {error}") from None

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        *,
        labels: Any = None,
        figures: Any = None,
        **options: Any,
    ) -> "ConversionOptions":
        """The options as a caller gives them: names from any iterable, numbers of any library.

        Raises:
            TypeError: labels that are no list, a number that is none, figures by no name.
            ValueError: as from the class.
        """
        if figures is not None and not isinstance(figures, Mapping):
            raise TypeError(
                "`figures` must be numbers by name, such as {'accuracy': 0.98}. Received: "
                f"{figures!r}"
            )
        names = None if labels is None else as_names("labels", labels)
        for name in ("sample_period_s", "threshold", "tolerance"):
            if options.get(name) is not None:
                options[name] = as_number(name, options[name])
        return cls(recipe, labels=names, figures=figures, **options)

    def described(
        self, model: keras.Model, frames: tuple[TensorSpec, ...], output: TensorSpec
    ) -> "ConversionOptions":
        """The options with labels, period, names and front end as far as they are known.

        Raises:
            ValueError: a sample period that differs from that of the front end.
        """
        options = DataInfo(
            None if self.labels is None else tuple(self.labels),
            None if self.feature_names is None else tuple(self.feature_names),
            self.sample_period_s,
            self.front_end,
        )
        info = describe(options, model, self.calibration, frames, output)
        return replace(
            self,
            labels=info.class_names,
            feature_names=info.feature_names,
            front_end=info.front_end,
            sample_period_s=info.sample_period_s,
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
        """The options with a vocabulary by input, and ids in place of texts in the data.

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
        """Write the options as data: JSON, and the data sets as `.npz` files beside it."""
        document = {name: getattr(self, name) for name in _PLAIN_FIELDS}
        document |= {"recipe": self.recipe.as_dict(), "labels": self.labels and list(self.labels)}
        document["feature_names"] = self.feature_names and list(self.feature_names)
        document["front_end"] = self.front_end and self.front_end.to_plain()
        vocabularies = self.vocabularies.items()
        document["vocabularies"] = {name: words.to_plain() for name, words in vocabularies}
        if self.calibration is not None:
            document["calibration"] = str(save_calibration(self.calibration, folder))
        if self.evaluation is not None:
            document["evaluation"] = str(save_evaluation(self.evaluation, folder))
        text = json.dumps(document, default=methodcaller("item"))  # NumPy's numbers
        (folder / "options.json").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "ConversionOptions":
        """Read the options that `save` wrote."""
        document = json.loads((folder / "options.json").read_text(encoding="utf-8"))
        vocabularies = {
            name: Vocabulary(**{**plain, "tokens": tuple(plain["tokens"])})
            for name, plain in document["vocabularies"].items()
        }
        objects = {
            "recipe": Recipe.from_dict(document["recipe"]),
            "front_end": document["front_end"] and front_end_from_plain(document["front_end"]),
            "vocabularies": vocabularies,
        }
        return cls(**{**document, **objects})
