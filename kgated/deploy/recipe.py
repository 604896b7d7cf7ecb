"""What a conversion does, as frozen data with readable names."""

from dataclasses import asdict, dataclass

MODES = ("stream",)
QUANTIZATIONS = ("none", "dynamic")
STATES = ("external", "internal")

# Largest error against the Keras model that a recipe may show, relative to max(1, |output|).
LIMITS = {"none": 1e-4, "dynamic": 0.1}
# Rounding differs between processors: the least tolerance that a golden frame is given.
FLOORS = {"none": 1e-5, "dynamic": 1e-3}


@dataclass(frozen=True)
class Recipe:
    """How a model is lowered.

    Attributes:
        mode: "stream": one frame per call, the state goes in and out.
        quantize: "none": float32; "dynamic": int8 weights, float state and arithmetic at the seams.
        state: "external": inputs and outputs; "internal": variables in the file.

    Raises:
        ValueError: an unknown name.
    """

    mode: str = "stream"
    quantize: str = "none"
    state: str = "external"

    def __post_init__(self) -> None:
        known = {"mode": MODES, "quantize": QUANTIZATIONS, "state": STATES}
        for name, options in known.items():
            value = getattr(self, name)
            if value not in options:
                raise ValueError(f"`{name}` must be one of {list(options)}. Received: {value!r}")

    @property
    def name(self) -> str:
        """The same string in file names and reports, such as "stream-dynamic"."""
        return f"{self.mode}-{self.quantize}"

    def limit(self, scale: float) -> float:
        """The largest absolute error allowed for outputs as large as `scale`."""
        return LIMITS[self.quantize] * max(1.0, scale)

    def tolerance(self, measured: float, scale: float) -> float:
        """What a golden frame may differ by on a device, given the error `measured` here."""
        return max(4.0 * measured, FLOORS[self.quantize] * max(1.0, scale))

    def as_dict(self) -> dict[str, str]:
        """The recipe as it stands in the manifest."""
        return asdict(self)
