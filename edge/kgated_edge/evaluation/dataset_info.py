"""The description of a data set: names of classes and features, sample period, front end."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kgated_edge.errors import DataError, ManifestError
from kgated_edge.format.front_end import FrontEndSpec, front_end_from_plain
from kgated_edge.format.tensor_spec import Array

INFO_KEYS = ("class_names", "feature_names", "sample_period_ms", "front_end", "groups")


@dataclass(frozen=True)
class DataInfo:
    """The description of the frames of a data set, a model or a file.

    Attributes:
        class_names: the name of each class, in the order of the labels; None where unknown.
        feature_names: the name of each feature of a frame, in its order; None where unknown.
        sample_period_s: seconds from one frame to the next; None where unknown.
        front_end: how audio becomes frames; None where frames do not come from audio.
    """

    class_names: tuple[str, ...] | None = None
    feature_names: tuple[str, ...] | None = None
    sample_period_s: float | None = None
    front_end: FrontEndSpec | None = None

    def to_plain(self) -> dict[str, object]:
        """The entries that are known, as values of JSON."""
        plain: dict[str, object] = {}
        if self.class_names is not None:
            plain["class_names"] = list(self.class_names)
        if self.feature_names is not None:
            plain["feature_names"] = list(self.feature_names)
        if self.sample_period_s is not None:
            plain["sample_period_ms"] = self.sample_period_s * 1e3
        if self.front_end is not None:
            plain["front_end"] = self.front_end.to_plain()
        return plain

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "DataInfo":
        """Reads what `to_plain` made.

        Raises:
            DataError: an entry of another kind.
        """
        front_end = plain.get("front_end")
        try:
            spec = None if front_end is None else front_end_from_plain(front_end)
        except ManifestError as error:
            raise DataError(str(error).replace("manifest field", "entry")) from None
        period = plain.get("sample_period_ms")
        if period is not None and not 0 < float(period) < float("inf"):
            raise DataError(f"`sample_period_ms` must be above 0, got {period}: save the real one")
        return cls(
            _names(plain, "class_names"),
            _names(plain, "feature_names"),
            None if period is None else _seconds(float(period), spec),
            spec,
        )


NO_INFO = DataInfo()


def _seconds(period_ms: float, spec: FrontEndSpec | None) -> float:
    """The period; that of the front end where it is the same, without the error of rounding."""
    period_s = period_ms / 1e3
    if spec is not None and abs(period_s - spec.period_s) <= 1e-6 * spec.period_s:
        return spec.period_s
    return float(f"{period_s:.12g}")


def _names(plain: Mapping[str, Any], key: str) -> tuple[str, ...] | None:
    names = plain.get(key)
    if names is None:
        return None
    texts = tuple(str(name) for name in names)
    if len(set(texts)) != len(texts):
        raise DataError(f"`{key}` must not name the same twice, got {list(texts)}: rename one")
    return texts


def read_info(arrays: Mapping[str, Array]) -> DataInfo:
    """The description in the arrays of an `.npz` file.

    Raises:
        DataError: an entry of another kind.
    """
    plain: dict[str, Any] = {}
    for key in ("class_names", "feature_names"):
        if key in arrays:
            if arrays[key].ndim != 1 or arrays[key].dtype.kind != "U":
                raise DataError(
                    f"`{key}` must be (n,) strings, got shape {arrays[key].shape} of "
                    f"{arrays[key].dtype}: save np.array(names)"
                )
            plain[key] = arrays[key].tolist()
    if "sample_period_ms" in arrays:
        plain["sample_period_ms"] = _number(arrays["sample_period_ms"])
    if "front_end" in arrays:
        plain["front_end"] = _document(arrays["front_end"])
    return DataInfo.from_plain(plain)


def _number(array: Array) -> float:
    if array.size != 1 or array.dtype.kind not in "iuf":
        raise DataError(f"`sample_period_ms` must be a number, got shape {array.shape}: save one")
    return float(array.reshape(())[()])


def _document(array: Array) -> Any:
    try:
        return json.loads(str(array.reshape(())[()]))
    except (ValueError, RecursionError):
        raise DataError(
            "`front_end` must be a text of JSON: save it by `kgated data wav`"
        ) from None


def info_arrays(info: DataInfo) -> dict[str, Array]:
    """The arrays of an `.npz` file that `read_info` reads."""
    arrays: dict[str, Array] = {}
    for key, value in info.to_plain().items():
        text = json.dumps(value) if isinstance(value, dict) else value
        arrays[key] = np.array(text)
    return arrays


def class_numbers(y: Array, names: tuple[str, ...] | None) -> tuple[Array, tuple[str, ...]]:
    """Labels that are texts as class numbers.

    Args:
        y: texts of any shape.
        names: the class names in their order; None: those in `y`, sorted.

    Returns:
        the numbers (int64), and the names.

    Raises:
        DataError: a label that is none of the names.
    """
    present, inverse = np.unique(y, return_inverse=True)
    texts = tuple(str(name) for name in present)
    names = texts if names is None else names
    if unknown := sorted(set(texts) - set(names)):
        raise DataError(f"the label {unknown[0]!r} is none of the classes {list(names)}: rename it")
    order = np.array([names.index(text) for text in texts], np.int64)
    return order[inverse].reshape(y.shape), names
