"""What a conversion does, as frozen data with readable names."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from kgated.argument_checks import check_choice
from kgated.atomic_write import replace_file

MODES = ("stream", "sequence")
STATES = ("external", "internal")
TARGETS = ("cpu", "mcu")
LOWERINGS = ("auto", "unrolled", "while", "fused")
CALIBRATION_METHODS = ("minmax", "percentile", "mse")


@dataclass(frozen=True)
class Quantization:
    """What one value of `quantize` stands for.

    Attributes:
        weight_bits: bits of a weight; 32 and 16 are floating point.
        activation_bits: bits of an activation, an input, an output and a state, all of them
            integers of a fixed range; None: they are float32.
        limit: the largest error against the Keras model, relative to max(1, |output|), that is
            usual: at least three times the worst error measured on trained classifiers, and on
            every cell at random weights. A float file is refused above it.
        golden_floor: the smallest tolerance of a golden frame, relative in the same way: rounding
            differs between processors.
        lstm_kernel: whether the fused LSTM operator has a kernel for it.
    """

    weight_bits: int
    activation_bits: int | None
    limit: float
    golden_floor: float
    lstm_kernel: bool = True

    @property
    def is_static(self) -> bool:
        """Whether inputs, outputs and states are integers, whose ranges need calibration."""
        return self.activation_bits is not None

    @property
    def is_float(self) -> bool:
        """Whether nothing is quantized."""
        return self.weight_bits == 32

    @property
    def has_integer_weights(self) -> bool:
        """Whether weights are integers, and not floating point of fewer bits."""
        return self.weight_bits <= 8

    @property
    def rmse_limit(self) -> float:
        """The largest root mean square of the error, which a wrong scale raises everywhere."""
        return self.limit / 5


QUANTIZATIONS: Mapping[str, Quantization] = {
    "none": Quantization(32, None, limit=1e-4, golden_floor=1e-5),
    "float16": Quantization(16, None, limit=5e-3, golden_floor=1e-4),
    "dynamic": Quantization(8, None, limit=0.1, golden_floor=1e-3),
    "dynamic4": Quantization(4, None, limit=0.4, golden_floor=1e-3),
    "int8": Quantization(8, 8, limit=0.3, golden_floor=1e-2),
    "int16x8": Quantization(8, 16, limit=0.1, golden_floor=1e-3, lstm_kernel=False),
}


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
            sources beside the file.
        lowering: of a sequence's steps: "unrolled": each in the graph; "while": a loop; "fused":
            one operator for each LSTM; "auto": the faster one of the first two, by
            `choose_lowering`.
        batch: how many sequences, or streams, a call takes side by side.
        calibration_method: how calibrated values become a range: "minmax": their extremes;
            "percentile": the extremes without those of outliers; "mse": the range of the smallest
            rounding error.
        percentile: of the extremes of the sequences, for "percentile".

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

    def __post_init__(self) -> None:
        for name, options in _OPTIONS.items():
            check_choice(name, getattr(self, name), options)
        if type(self.batch) is not int or self.batch < 1:
            raise ValueError(f"`batch` must be an integer of at least 1. Received: {self.batch!r}")
        if not isinstance(self.percentile, int | float) or not 50.0 < self.percentile <= 100.0:
            raise ValueError(
                f"`percentile` must be above 50 and at most 100. Received: {self.percentile!r}"
            )
        for rule in _RULES:
            if rule.is_broken(self):
                raise ValueError(rule.message.format(recipe=self, skip=list(self.skip)))

    @property
    def name(self) -> str:
        """The same string in file names and reports, such as "stream-dynamic"."""
        return f"{self.mode}-{self.quantize}"

    @property
    def quantization(self) -> Quantization:
        """What `quantize` stands for."""
        return QUANTIZATIONS[self.quantize]

    @property
    def is_static(self) -> bool:
        """Whether ranges of inputs, outputs and states are fixed, and so needs calibration."""
        return self.quantization.is_static

    def limit(self, scale: float) -> float:
        """The largest absolute error that is usual for outputs as large as `scale`."""
        return self.quantization.limit * max(1.0, scale)

    def rmse_limit(self, scale: float) -> float:
        """The largest root mean square of the error usual for outputs as large as `scale`."""
        return self.quantization.rmse_limit * max(1.0, scale)

    def tolerance(self, measured: float, scale: float) -> float:
        """How far a golden frame may be off on a device, given the error `measured` here."""
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


@dataclass(frozen=True)
class _Rule:
    """Two choices that exclude each other.

    Attributes:
        is_broken: whether a recipe has both.
        message: the error, a format string of `recipe` and `skip`.
    """

    is_broken: Callable[[Recipe], bool]
    message: str


_OPTIONS = {
    "mode": MODES,
    "quantize": tuple(QUANTIZATIONS),
    "state": STATES,
    "target": TARGETS,
    "lowering": LOWERINGS,
    "calibration_method": CALIBRATION_METHODS,
}
_RULES = (
    _Rule(
        lambda recipe: recipe.calibration_method != "minmax" and not recipe.is_static,
        "`calibration_method` is of ranges, which `quantize={recipe.quantize!r}` has none of; "
        "leave it out. Received: {recipe.calibration_method!r}",
    ),
    _Rule(
        lambda recipe: recipe.target == "mcu" and recipe.batch > 1,
        "`target='mcu'` makes C++ sources for one sequence at a time; leave `batch` at 1. "
        "Received: {recipe.batch}",
    ),
    _Rule(
        lambda recipe: bool(recipe.skip) and recipe.quantization.is_float,
        "`skip` names layers to keep in float, and `quantize='none'` keeps all; "
        "leave it out. Received: {skip}",
    ),
    _Rule(
        lambda recipe: recipe.mode == "stream" and recipe.lowering != "auto",
        "`lowering` is for `mode='sequence'`; a stream takes its steps one by one. "
        "Received: {recipe.lowering!r}",
    ),
    _Rule(
        lambda recipe: recipe.mode == "sequence" and recipe.state == "internal",
        "`state='internal'` is for `mode='stream'`: a sequence keeps no state",
    ),
    _Rule(
        lambda recipe: recipe.is_static and recipe.state == "internal",
        "`state='internal'` keeps floats in the file, which `quantize={recipe.quantize!r}` "
        "has none of; take `state='external'`, or `quantize='dynamic'`",
    ),
    _Rule(
        lambda recipe: recipe.target == "mcu" and recipe.lowering == "while",
        "`target='mcu'` takes no loops, whose memory its arena is not measured for; take "
        "`lowering='unrolled'`, 'fused' or `mode='stream'`. Received: 'while'",
    ),
    _Rule(
        lambda recipe: recipe.target == "mcu" and (not recipe.is_static or bool(recipe.skip)),
        "`target='mcu'` computes in integers throughout; take `quantize='int8'` or "
        "'int16x8' and no `skip`. Received: {recipe.quantize!r}, skip {skip}",
    ),
)


def save_recipe(path: str | Path, recipe: Recipe) -> None:
    """Write a recipe, whole or not at all; its fields are options of `to_tflite`.

    Raises:
        OSError: the file can't be written.
    """
    replace_file(path, json.dumps(recipe.as_dict(), indent=2).encode() + b"\n")


def load_recipe(path: str | Path) -> Recipe:
    """Read what `save_recipe` wrote.

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
