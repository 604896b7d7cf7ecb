"""The recipe of a conversion as frozen data."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from kgated.argument_checks import check_choice
from kgated.atomic_write import replace_file
from kgated.deploy.recipe.quantizations import QUANTIZATIONS, Quantization
from kgated.deploy.recipe.rules import RULES

MODES = ("stream", "sequence")
STATES = ("external", "internal")
TARGETS = ("cpu", "mcu", "c")
LOWERINGS = ("auto", "unrolled", "while", "fused")
SESSION_STEP = 8  # from one batch size of a file with sessions to the next
RESULTS = ("auto", "each", "last")
CALIBRATION_METHODS = ("minmax", "percentile", "mse")


@dataclass(frozen=True)
class Recipe:
    """How a model is lowered.

    Attributes:
        mode: "stream": one frame per call, the state goes in and out; "sequence": a whole sequence.
        quantize: "none": float32; "float16": weights in half the size, float32 arithmetic;
            "dynamic": int8 weights, float state, float numbers between the operators; "dynamic4":
            the same with 4-bit weights; "int8": integers throughout, int8 in, out and in the state;
            "int16x8": int16 in, out and in the state, int8 weights.
        state: "external": inputs and outputs; "internal": variables in the file.
        skip: names of layers that stay in float.
        target: "cpu": any device that runs LiteRT; "mcu": TensorFlow Lite Micro, with C++
            sources beside the file; "c": the same as "cpu", with C99 sources beside the file that
            need no runtime.
        lowering: of a sequence's steps: "unrolled": each in the graph; "while": a loop; "fused":
            one operator for each LSTM; "auto": the faster one of the first two, by
            `choose_lowering`.
        batch: how many sequences, or streams, a call takes side by side.
        calibration_method: how calibrated values become a range: "minmax": their extremes;
            "percentile": the extremes without those of outliers; "mse": the range of the smallest
            rounding error.
        percentile: of the extremes of the sequences, for "percentile".
        sessions: for how many sessions at once a stream's file has signatures, beside that for one;
            1: for no more than one.
        block: frames k that a stream's step takes; 1: as few as the strides of the model allow.
        results: of a block: "each": a result for every frame, or every stride of frames; "last":
            the last of them; "auto": "each" where the model has a result per frame.

    Raises:
        ValueError: an unknown name, no such number, or two choices that exclude each other.
    """

    mode: str = "stream"
    quantize: str = "none"
    state: str = "external"
    skip: tuple[str, ...] = ()
    target: str = "cpu"
    lowering: str = "auto"
    batch: int = 1
    calibration_method: str = "minmax"
    percentile: float = 99.99
    sessions: int = 1
    block: int = 1
    results: str = "auto"

    def __post_init__(self) -> None:
        for name, options in _OPTIONS.items():
            check_choice(name, getattr(self, name), options)
        for name in ("batch", "sessions", "block"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"`{name}` must be an integer of at least 1. Received: {value!r}")
        if not isinstance(self.percentile, int | float) or not 50.0 < self.percentile <= 100.0:
            raise ValueError(
                f"`percentile` must be above 50 and at most 100. Received: {self.percentile!r}"
            )
        for rule in RULES:
            if rule.is_broken(self):
                raise ValueError(rule.message.format(recipe=self, skip=list(self.skip)))

    @property
    def name(self) -> str:
        """The same string in file names and reports, such as "stream-dynamic"."""
        return f"{self.mode}-{self.quantize}"

    @property
    def session_sizes(self) -> tuple[int, ...]:
        """The batch sizes of a stream's further signatures, such as (8, 64) for 64 sessions."""
        sizes = [SESSION_STEP**n for n in range(1, 10) if SESSION_STEP**n < self.sessions]
        return (*sizes, self.sessions) if self.sessions > 1 else ()

    @property
    def quantization(self) -> Quantization:
        """The properties of the quantization."""
        return QUANTIZATIONS[self.quantize]

    @property
    def is_static(self) -> bool:
        """Whether ranges of inputs, outputs and states are fixed, and so needs calibration."""
        return self.quantization.is_static

    def limit(self, scale: float) -> float:
        """The largest usual absolute error of outputs with the magnitude `scale`."""
        return self.quantization.limit * max(1.0, scale)

    def rmse_limit(self, scale: float) -> float:
        """The largest usual root mean square error of outputs with the magnitude `scale`."""
        return self.quantization.rmse_limit * max(1.0, scale)

    def tolerance(self, measured: float, scale: float) -> float:
        """The tolerance of golden frames on a device, from the error measured here."""
        return max(4.0 * measured, self.quantization.golden_floor * max(1.0, scale))

    def as_dict(self) -> dict[str, object]:
        """The recipe as it stands in the manifest."""
        return {**asdict(self), "skip": list(self.skip)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> "Recipe":
        """The recipe of `as_dict`; what is left out has its default.

        Raises:
            ValueError: as from `Recipe`.
        """
        return cls(**{**document, "skip": tuple(document.get("skip", ()))})


_OPTIONS = {
    "mode": MODES,
    "quantize": tuple(QUANTIZATIONS),
    "state": STATES,
    "target": TARGETS,
    "lowering": LOWERINGS,
    "calibration_method": CALIBRATION_METHODS,
    "results": RESULTS,
}


def save_recipe(path: str | Path, recipe: Recipe) -> None:
    """Write a recipe, whole or not at all; its fields are options of `to_tflite`.

    Raises:
        OSError: the file can't be written.
    """
    replace_file(path, json.dumps(recipe.as_dict(), indent=2).encode() + b"\n")


def load_recipe(path: str | Path) -> Recipe:
    """Read the recipe that `save_recipe` wrote.

    Raises:
        ValueError: no such file, no JSON object, an unknown field, a value that no recipe has.
    """
    known = {field.name for field in fields(Recipe)}
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: can't be read as a recipe: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path}: can't be read as a recipe: it is no JSON ({error})") from error
    if not isinstance(document, dict) or not set(document) <= known:
        raise ValueError(
            f"{path}: a recipe is a JSON object of {sorted(known)}; save one by `kgated optimize`"
        )
    skip = document.get("skip", [])
    if not isinstance(skip, list) or not all(isinstance(name, str) for name in skip):
        raise ValueError(f"{path}: `skip` must be a list of layers' names. Received: {skip!r}")
    try:
        return Recipe.from_dict(document)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
