"""Parts of a manifest: the description of a tensor, and the golden frames."""

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from kgated_edge.format.json_fields import Fields

Array = npt.NDArray[Any]
"""An array of the dtype that its `TensorSpec` names."""

_INTEGERS = ("int8", "int16")
_DTYPES = ("float32", "int32", *_INTEGERS)
_INT32_MIN = -(2**31)


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of the signature.

    Attributes:
        name: its name in the signature.
        shape: without the batch axis; () for a token.
        dtype: "float32" or "int32"; "int8" or "int16" where it is quantized.
        scale: of a quantized tensor (real = scale * (stored - zero_point)), else None.
        zero_point: stored value of a real zero, else None.
        vocabulary: tokens are in 0..vocabulary - 1; None for tensors without tokens.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    scale: float | None = None
    zero_point: int | None = None
    vocabulary: int | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def is_token(self) -> bool:
        """Whether it is a single token."""
        return self.dtype == "int32" and self.shape == () and self.vocabulary is not None

    @property
    def is_real(self) -> bool:
        """Whether it is a float array of one axis or more, quantized or not."""
        is_float = self.dtype == "float32" or self.is_quantized
        return is_float and self.shape != () and self.vocabulary is None

    @property
    def is_quantized(self) -> bool:
        """Whether its integers are quantized floats."""
        return self.dtype in _INTEGERS

    @property
    def real(self) -> "TensorSpec":
        """The tensor as the caller sees it: float32 where it is quantized, else itself."""
        if not self.is_quantized:
            return self
        return replace(self, dtype="float32", scale=None, zero_point=None)

    def block(self, size: int) -> "TensorSpec":
        """The tensor with a first axis of `size`, (size, *shape); itself for 1."""
        return self if size == 1 else self.rows(size)

    def rows(self, size: int) -> "TensorSpec":
        """The tensor with a first axis of `size`, (size, *shape), also for 1."""
        return replace(self, shape=(size, *self.shape))

    def to_plain(self) -> dict[str, object]:
        """The entry of the JSON document."""
        return asdict(self)

    @classmethod
    def read(cls, items: Fields) -> "TensorSpec":
        """Reads an entry of the JSON document.

        Raises:
            ManifestError: a field is missing or breaks its rule.
        """
        spec = cls(
            name=items.text("name"),
            shape=items.integers("shape", 1),
            dtype=items.choice("dtype", _DTYPES),
            scale=items.optional("scale", items.positive),
            zero_point=items.optional("zero_point", lambda key: items.integer(key, _INT32_MIN)),
            vocabulary=items.optional("vocabulary", lambda key: items.integer(key, 1)),
        )
        if (spec.scale is not None, spec.zero_point is not None) != (spec.is_quantized,) * 2:
            raise items.wrong("scale", "given, and `zero_point` too, just for int8 and int16")
        return spec


@dataclass(frozen=True, eq=False)
class Golden:
    """Frames and the model's outputs for them, in order from zero state.

    Attributes:
        frames: by input name (n * frames_per_step, *frame.shape), of the dtype that a caller sees.
            For a sequence (n, *frame.shape), repeated from the start where it must be longer, and
            (1, *frame.shape) for an input with one value per sequence. All rows of a batch get
            the same.
        outputs: by output name the last results for the frames, (n, *output.shape), float32.
        tolerance: the largest absolute difference allowed, in units of the output.
    """

    frames: Mapping[str, Array]
    outputs: Mapping[str, Array]
    tolerance: float

    def to_plain(self) -> dict[str, object]:
        """The entry of the JSON document."""
        return {
            "frames": {name: _encode(array) for name, array in self.frames.items()},
            "outputs": {name: _encode(array) for name, array in self.outputs.items()},
            "tolerance": float(self.tolerance),
        }

    @classmethod
    def read(
        cls, items: Fields, frames: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
    ) -> "Golden":
        """Reads an entry of the JSON document.

        Raises:
            ManifestError: arrays that do not fit `frames` and `outputs`, or with NaN, inf or tokens
                outside the vocabulary.
        """
        return cls(
            _decode_all(items, "frames", frames),
            _decode_all(items, "outputs", outputs),
            items.real("tolerance"),
        )


def _decode_all(items: Fields, key: str, specs: tuple[TensorSpec, ...]) -> dict[str, Array]:
    entries = items.nested(key)
    return {spec.name: _decode(entries.nested(spec.name), spec.real) for spec in specs}


def _encode(array: Array) -> dict[str, object]:
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return {"shape": list(array.shape), "base64": base64.b64encode(little.tobytes()).decode()}


def _decode(items: Fields, spec: TensorSpec) -> Array:
    """An array (n, *spec.shape) in native byte order."""
    shape = items.integers("shape", 1)
    if shape[1:] != spec.shape or len(shape) != len(spec.shape) + 1:
        raise items.wrong("shape", f"[n, {', '.join(map(str, spec.shape))}]")
    stored = np.dtype(spec.dtype).newbyteorder("<")
    content = _unbase64(items)
    if len(content) != math.prod(shape) * stored.itemsize:
        raise items.wrong("base64", f"{math.prod(shape)} numbers of {spec.dtype}")
    array = np.frombuffer(content, stored).reshape(shape).astype(spec.dtype)
    if not holds_values(array, spec):
        raise items.wrong("base64", "finite numbers, and tokens of the vocabulary")
    return array


def _unbase64(items: Fields) -> bytes:
    text = items.text("base64")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise items.wrong("base64", "base64") from None


def holds_values(array: Array, spec: TensorSpec) -> bool:
    """Whether all elements are finite, or tokens of the tensor's vocabulary."""
    if spec.vocabulary is None:
        return bool(np.isfinite(array).all())
    return bool(((array >= 0) & (array < spec.vocabulary)).all())
