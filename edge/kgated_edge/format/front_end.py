"""The front end in the manifest: how audio becomes the frames that the model was trained on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kgated_edge.errors import ManifestError
from kgated_edge.format.json_fields import Fields

KINDS = ("log-mel", "mfcc", "pcen")
MAX_DELTAS = 2
_PCEN = {"gain": 1.0, "bias": 1e6, "power": 1.0, "smoothing_s": 1e3, "floor": 1.0}
_PCEN_DEFAULTS = {"gain": 0.98, "bias": 2.0, "power": 0.5, "smoothing_s": 0.4, "floor": 1e-9}


@dataclass(frozen=True)
class FrontEndSpec:
    """A front end as data. `kgated_edge.ingest.front_end.FrontEnd` computes it.

    Attributes:
        kind: "log-mel", "mfcc" or "pcen".
        rate: samples per second.
        window: samples per frame.
        hop: samples from one frame to the next.
        mels: number of bands.
        low_hz, high_hz: limits of the bands; `high_hz` None: half the rate.
        coefficients: for "mfcc": how many; else None.
        pcen: for "pcen": `gain`, `bias`, `power`, `smoothing_s` and `floor`; else None.
        deltas: 0, 1 (with the slope of each value), or 2 (with the slope of the slope too).
        mean, scale: standardization, (x - mean) * scale of each feature; both or neither.
    """

    kind: str = "log-mel"
    rate: int = 16000
    window: int = 400
    hop: int = 160
    mels: int = 40
    low_hz: float = 20.0
    high_hz: float | None = None
    coefficients: int | None = None
    pcen: Mapping[str, float] | None = None
    deltas: int = 0
    mean: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None

    @property
    def base_features(self) -> int:
        """Features without deltas."""
        return self.mels if self.coefficients is None else self.coefficients

    @property
    def features(self) -> int:
        """Features of one frame."""
        return self.base_features * (1 + self.deltas)

    @property
    def period_s(self) -> float:
        """Seconds from one frame to the next."""
        return self.hop / self.rate

    def names(self) -> tuple[str, ...]:
        """A name for each feature."""
        base = "mfcc" if self.kind == "mfcc" else "band"
        plain = [f"{base} {n}" for n in range(self.base_features)]
        prefixes = ("", "delta ", "delta delta ")[: self.deltas + 1]
        return tuple(prefix + name for prefix in prefixes for name in plain)

    def to_plain(self) -> dict[str, object]:
        """The front end as values of JSON."""
        plain = {name: _as_list(value) for name, value in vars(self).items()}
        return plain | {"pcen": None if self.pcen is None else dict(self.pcen)}

    def differences(self, spec: "FrontEndSpec") -> list[str]:
        """How another front end differs, a phrase for each field."""
        expected, actual = self.to_plain(), spec.to_plain()
        return [
            f"`{name}` is {_short(actual[name])} instead of {_short(value)}"
            for name, value in expected.items()
            if actual[name] != value
        ]


def _as_list(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def pcen_parameters(**changes: float) -> dict[str, float]:
    """The parameters of PCEN, the defaults with some changed."""
    return _PCEN_DEFAULTS | changes


def read_front_end(items: Fields) -> FrontEndSpec:
    """Reads and checks a front end.

    Raises:
        ManifestError: a field is missing, has another type, or is out of range.
    """
    kind = items.choice("kind", KINDS)
    spec = FrontEndSpec(
        kind=kind,
        rate=_bounded(items, "rate", 10**6),
        window=_bounded(items, "window", 4096),
        hop=_bounded(items, "hop", 10**6),
        mels=_bounded(items, "mels", 1024),
        low_hz=items.real("low_hz"),
        high_hz=items.optional("high_hz", items.positive),
        coefficients=items.optional("coefficients", lambda key: _bounded(items, key, 1024)),
        pcen=items.optional("pcen", lambda key: _read_pcen(items.nested(key))),
        deltas=items.integer("deltas", 0),
        mean=items.optional("mean", lambda key: _numbers(items, key)),
        scale=items.optional("scale", lambda key: _numbers(items, key)),
    )
    _check(items, spec)
    return spec


def front_end_from_plain(document: Mapping[str, Any]) -> FrontEndSpec:
    """Reads what `to_plain` made; raises as `read_front_end`."""
    return read_front_end(Fields(dict(document), "front_end"))


def _check(items: Fields, spec: FrontEndSpec) -> None:
    """The rules that involve several fields."""
    high = spec.rate / 2 if spec.high_hz is None else spec.high_hz
    if not spec.low_hz < high <= spec.rate / 2:
        raise items.wrong("high_hz", f"above `low_hz` and at most {spec.rate / 2:g}, half the rate")
    if (spec.kind == "mfcc") != (spec.coefficients is not None):
        raise items.wrong("coefficients", "a number for 'mfcc' and null for another kind")
    if spec.coefficients is not None and spec.coefficients > spec.mels:
        raise items.wrong("coefficients", f"at most {spec.mels}, the bands")
    if (spec.kind == "pcen") != (spec.pcen is not None):
        raise items.wrong("pcen", "an object for 'pcen' and null for another kind")
    if spec.deltas > MAX_DELTAS:
        raise items.wrong("deltas", f"a whole number in 0..{MAX_DELTAS}")
    for key, values in (("mean", spec.mean), ("scale", spec.scale)):
        if (values is None) != (spec.mean is None) or (values and len(values) != spec.features):
            raise items.wrong(
                key, f"{spec.features} numbers, one per feature, or null as the other"
            )
    if spec.scale is not None and not all(value > 0 for value in spec.scale):
        raise items.wrong("scale", "numbers above zero")


def _bounded(items: Fields, key: str, maximum: int) -> int:
    value = items.integer(key, 1)
    if value > maximum:
        raise items.wrong(key, f"a whole number in 1..{maximum}")
    return value


def _numbers(items: Fields, key: str) -> tuple[float, ...]:
    values = items.array(key)
    numbers = Fields({str(n): value for n, value in enumerate(values)}, items.path(key))
    return tuple(numbers.finite(name) for name in numbers)


def _read_pcen(items: Fields) -> dict[str, float]:
    """PCEN's parameters: each above zero, `power` and `gain` at most 1."""
    parameters = {name: items.positive(name) for name in _PCEN}
    for name, maximum in _PCEN.items():
        if parameters[name] > maximum or parameters[name] < 1e-15:
            raise items.wrong(name, f"a number in 1e-15..{maximum:g}")
    return parameters


def check_feature_names(items: Fields, names: tuple[str, ...] | None, size: int) -> None:
    """Raises `ManifestError` where the names are not one per feature, each another."""
    if names is not None and (len(names) != size or len(set(names)) != size):
        raise items.wrong("feature_names", f"{size} different names, one per feature of a frame")


def check_front_end(
    items: Fields, spec: FrontEndSpec | None, shapes: list[tuple[int, ...]], period_s: float | None
) -> None:
    """Raises `ManifestError` where a front end does not make the frames of the model.

    Args:
        items: the manifest, for the message.
        spec: the front end, or None.
        shapes: the shape of one frame of each input.
        period_s: the sample period of the manifest.
    """
    if spec is None:
        return
    if shapes != [(spec.features,)]:
        raise items.wrong("front_end", f"one that makes the frames of the model, {shapes}")
    if period_s is None or abs(period_s - spec.period_s) > 1e-6 * spec.period_s:
        raise ManifestError(
            f"manifest field `sample_period_s` must be that of the front end, {spec.period_s:g}, "
            f"got {period_s}: convert it again"
        )
