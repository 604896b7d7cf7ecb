"""What a conversion does, as frozen data with readable names."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from kgated.atomic_write import replace_file

MODES = ("stream", "sequence")
QUANTIZATIONS = ("none", "float16", "dynamic", "dynamic4", "int8", "int16x8")
STATIC = ("int8", "int16x8")
STATES = ("external", "internal")
TARGETS = ("cpu", "mcu")
LOWERINGS = ("auto", "unrolled", "while", "fused")

# Largest error against the Keras model that a recipe may show, relative to max(1, |output|): three
# times and more of the worst seen on trained classifiers, and on every cell at random weights.
LIMITS = {
    "none": 1e-4,
    "float16": 5e-3,
    "dynamic": 0.1,
    "dynamic4": 0.4,
    "int8": 0.3,
    "int16x8": 0.1,
}
# And of the error's root mean square, which a wrong scale raises everywhere.
RMSE_LIMITS = {name: limit / 5 for name, limit in LIMITS.items()}
# Rounding differs between processors: the least tolerance that a golden frame is given.
FLOORS = {
    "none": 1e-5,
    "float16": 1e-4,
    "dynamic": 1e-3,
    "dynamic4": 1e-3,
    "int8": 1e-2,
    "int16x8": 1e-3,
}


@dataclass(frozen=True)
class Recipe:
    """How a model is lowered.

    Attributes:
        mode: "stream": one frame per call, the state goes in and out; "sequence": a whole sequence.
        quantize: "none": float32; "float16": weights in half the size, float32 arithmetic;
            "dynamic": int8 weights, float state and arithmetic at the seams; "dynamic4": the same
            with 4-bit weights; "int8": integers throughout, int8 in, out and in the state;
            "int16x8": int16 in, out and in the state, int8 weights.
        state: "external": inputs and outputs; "internal": variables in the file.
        skip: names of layers that stay in float.
        target: "cpu": any device that runs LiteRT; "mcu": TensorFlow Lite Micro, with C++
            sources beside the file.
        lowering: of a sequence's steps: "unrolled": each in the graph; "while": a loop; "fused":
            one operator for each LSTM; "auto": the faster one of the first two, by
            `choose_lowering`.
        batch: how many sequences, or streams, a call takes side by side.

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

    def __post_init__(self) -> None:
        known = {
            "mode": MODES,
            "quantize": QUANTIZATIONS,
            "state": STATES,
            "target": TARGETS,
            "lowering": LOWERINGS,
        }
        for name, options in known.items():
            value = getattr(self, name)
            if value not in options:
                raise ValueError(f"`{name}` must be one of {list(options)}. Received: {value!r}")
        if type(self.batch) is not int or self.batch < 1:
            raise ValueError(f"`batch` must be an integer of at least 1. Received: {self.batch!r}")
        if self.target == "mcu" and self.batch > 1:
            raise ValueError(
                "`target='mcu'` makes C++ sources for one sequence at a time; leave `batch` at 1. "
                f"Received: {self.batch}"
            )
        if self.skip and self.quantize == "none":
            raise ValueError(
                "`skip` names layers to keep in float, and `quantize='none'` keeps all; "
                f"leave it out. Received: {list(self.skip)}"
            )
        if self.mode == "stream" and self.lowering != "auto":
            raise ValueError(
                "`lowering` is for `mode='sequence'`; a stream takes its steps one by one. "
                f"Received: {self.lowering!r}"
            )
        if self.mode == "sequence" and self.state == "internal":
            raise ValueError("`state='internal'` is for `mode='stream'`: a sequence keeps no state")
        if self.is_static and self.state == "internal":
            raise ValueError(
                f"`state='internal'` keeps floats in the file, which `quantize={self.quantize!r}` "
                "has none of; take `state='external'`, or `quantize='dynamic'`"
            )
        if self.target == "mcu" and self.lowering == "while":
            raise ValueError(
                "`target='mcu'` takes no loops, whose memory its arena is not measured for; take "
                "`lowering='unrolled'`, 'fused' or `mode='stream'`. Received: 'while'"
            )
        if self.target == "mcu" and (not self.is_static or self.skip):
            raise ValueError(
                "`target='mcu'` computes in integers throughout; take `quantize='int8'` or "
                f"'int16x8' and no `skip`. Received: {self.quantize!r}, skip {list(self.skip)}"
            )

    @property
    def name(self) -> str:
        """The same string in file names and reports, such as "stream-dynamic"."""
        return f"{self.mode}-{self.quantize}"

    @property
    def is_static(self) -> bool:
        """Whether ranges of inputs, outputs and states are fixed, and so needs calibration."""
        return self.quantize in STATIC

    def limit(self, scale: float) -> float:
        """The largest absolute error allowed for outputs as large as `scale`."""
        return LIMITS[self.quantize] * max(1.0, scale)

    def rmse_limit(self, scale: float) -> float:
        """The largest root mean square of the error allowed for outputs as large as `scale`."""
        return RMSE_LIMITS[self.quantize] * max(1.0, scale)

    def tolerance(self, measured: float, scale: float) -> float:
        """What a golden frame may differ by on a device, given the error `measured` here."""
        return max(4.0 * measured, FLOORS[self.quantize] * max(1.0, scale))

    def as_dict(self) -> dict[str, object]:
        """The recipe as it stands in the manifest."""
        return {**asdict(self), "skip": list(self.skip)}


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
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: can't be read as a recipe: {error}") from error
    if not isinstance(found, dict) or not set(found) <= known:
        raise ValueError(
            f"{path}: a recipe is a JSON object of {sorted(known)}; save one by `kgated optimize`"
        )
    skip = found.get("skip", [])
    if not isinstance(skip, list) or not all(isinstance(name, str) for name in skip):
        raise ValueError(f"{path}: `skip` must be a list of layers' names. Received: {skip!r}")
    try:
        return Recipe(**{**found, "skip": tuple(skip)})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
