"""Settings that turn scores per step into events: the manifest's section `events`."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from kgated_edge.errors import EdgeError, ManifestError
from kgated_edge.format.json_fields import Fields

T = TypeVar("T")
SMOOTHINGS = ("mean", "exponential")
SCORES = ("output", "reconstruction", "prediction")
MAX_SECONDS = 86400.0
_MAX_PRIORITY = 1_000_000
_MAX_THRESHOLD = 2.0**20  # scores above it are not summed exactly


@dataclass(frozen=True)
class ClassThreshold:
    """Hysteresis and rank of one class.

    Attributes:
        on: a class becomes active where its smoothed score is at least `on`.
        off: an active class ends where its smoothed score is below `off`; at most `on`.
        priority: of two active classes, the one with the higher priority is the event.

    Raises:
        EdgeError: a value of another type or out of range.
    """

    on: float = 0.5
    off: float = 0.4
    priority: int = 0

    def __post_init__(self) -> None:
        for name in ("on", "off"):
            value = getattr(self, name)
            if not _is_number(value) or not abs(value) <= _MAX_THRESHOLD:
                raise EdgeError(
                    f"`{name}` must be a number of at most {_MAX_THRESHOLD:g}, got {value!r}"
                )
        if self.off > self.on:
            raise EdgeError(f"`off` must not be above `on` = {self.on:g}, got {self.off:g}")
        if type(self.priority) is not int or abs(self.priority) > _MAX_PRIORITY:
            raise EdgeError(
                f"`priority` must be a whole number of at most {_MAX_PRIORITY}, "
                f"got {self.priority!r}"
            )

    @classmethod
    def read(cls, items: Fields) -> "ClassThreshold":
        """Reads an entry of the manifest.

        Raises:
            ManifestError: a field is absent, has another type or is out of range.
        """
        priority = items.integer("priority", -_MAX_PRIORITY)
        return _valid(items, lambda: cls(items.finite("on"), items.finite("off"), priority))


@dataclass(frozen=True)
class EventSettings:
    """How scores per step become events.

    Attributes:
        smoothing: "mean": moving average over `smoothing_s`; "exponential": exponential average
            with `smoothing_s` as its time constant.
        smoothing_s: seconds; 0 for none. Before the first step all scores are zero.
        min_duration_s: how long a class must be active before it is an event.
        refractory_s: after the end of an event, how long its class cannot become active.
        score: "output": the first output, a score per class; "reconstruction": the error of an
            output that repeats the frame; "prediction": the error of an output that predicts the
            next frame. An error is the root mean square over the features.
        background: names of classes that are no events.
        default: thresholds of classes that `classes` does not name.
        classes: thresholds by the name of the class.

    Raises:
        EdgeError: a value of another type or out of range, a class that is in `background` and in
            `classes`.
    """

    smoothing: str = "mean"
    smoothing_s: float = 0.3
    min_duration_s: float = 0.0
    refractory_s: float = 0.5
    score: str = "output"
    background: tuple[str, ...] = ()
    default: ClassThreshold = field(default_factory=ClassThreshold)
    classes: Mapping[str, ClassThreshold] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, allowed in (("smoothing", SMOOTHINGS), ("score", SCORES)):
            if getattr(self, name) not in allowed:
                raise EdgeError(
                    f"`{name}` must be one of {list(allowed)}, got {getattr(self, name)!r}"
                )
        for name in ("smoothing_s", "min_duration_s", "refractory_s"):
            value = getattr(self, name)
            if not _is_number(value) or not 0 <= value <= MAX_SECONDS:
                raise EdgeError(f"`{name}` must be in 0..{MAX_SECONDS:g} seconds, got {value!r}")
        if both := sorted(set(self.background) & set(self.classes)):
            raise EdgeError(f"`background` and `classes` both name {both[0]!r}: name it in one")

    def threshold(self, label: str) -> ClassThreshold | None:
        """The thresholds of a class, or None where it is in the background."""
        return None if label in self.background else self.classes.get(label, self.default)

    def to_plain(self) -> dict[str, object]:
        """The section of the JSON document."""
        return asdict(self) | {"background": list(self.background)}

    @classmethod
    def read(cls, items: Fields) -> "EventSettings":
        """Reads the section of the manifest.

        Raises:
            ManifestError: a field is absent, has another type or is out of range.
        """
        thresholds = items.nested("classes")
        classes = {name: ClassThreshold.read(thresholds.nested(name)) for name in thresholds}
        default = ClassThreshold.read(items.nested("default"))
        texts: dict[str, Any] = {name: items.text(name) for name in ("smoothing", "score")}
        seconds: dict[str, Any] = {
            f.name: items.real(f.name) for f in fields(cls) if f.name.endswith("_s")
        }
        background = items.texts("background")
        return _valid(
            items,
            lambda: cls(
                **texts, **seconds, background=background, default=default, classes=classes
            ),
        )


def steps_of(seconds: float, step_s: float) -> int:
    """The number of steps that last at least `seconds`; 0 for 0."""
    return math.ceil(round(seconds / step_s, 6))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _valid(items: Fields, make: Callable[[], T]) -> T:
    """Builds a value from checked fields, and turns its errors into errors of the manifest."""
    try:
        return make()
    except ManifestError:
        raise
    except EdgeError as error:
        raise ManifestError(f"manifest field `{items.where}`: {error}: write it again") from None
