"""Inputs, outputs and states as the C sources have them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.tensor_spec import Array, Golden, TensorSpec

from kgated.deploy.c.code import C_TYPES, numbers, wrapped
from kgated.deploy.c.elementwise import literal


@dataclass(frozen=True)
class Port:
    """An input, output or state.

    Attributes:
        kind: "in", "out" or "state".
        spec: all numbers of one call.
        golden_values: those that the self-test reads, or None.
    """

    kind: str
    spec: TensorSpec
    golden_values: Array | None = None

    @property
    def name(self) -> str:
        """Its name in the sources, such as `in_frame`."""
        return f"{self.kind}_{identifier(self.spec.name)}"

    @property
    def size(self) -> int:
        """How many numbers it has in a call."""
        return self.spec.size

    @property
    def ctype(self) -> str:
        """The C type of the numbers that the operators see."""
        return C_TYPES[self.spec.dtype]

    @property
    def real_ctype(self) -> str:
        """The C type of the numbers that a caller sees."""
        return C_TYPES[self.spec.real.dtype]

    @property
    def is_float(self) -> bool:
        """Whether a caller passes floats."""
        return self.real_ctype == "float"

    @property
    def is_quantized(self) -> bool:
        """Whether the operators see integers that stand for floats."""
        return self.spec.is_quantized

    @property
    def scale(self) -> str:
        """The scale of a quantized port, in C."""
        return literal(self.spec.scale or 1.0)

    @property
    def zero_point(self) -> int:
        """The number that stands for 0."""
        return self.spec.zero_point or 0

    @property
    def vocabulary(self) -> int | None:
        """How many tokens there are, of an input of tokens."""
        return self.spec.vocabulary

    @property
    def golden(self) -> str:
        """The golden numbers, in lines of C."""
        values = self.golden_values if self.golden_values is not None else np.zeros(0)
        return wrapped(numbers(values))


@dataclass(frozen=True)
class Ports:
    """All of a model, in the order of its manifest."""

    inputs: list[Port]
    outputs: list[Port]
    states: list[Port]

    @classmethod
    def of(cls, manifest: Manifest, golden: Golden) -> "Ports":
        """Those of a step of a stream.

        Args:
            manifest: of a stream.
            golden: the frames for the self-test, and their results.
        """
        batch, size = manifest.batch, manifest.frames_per_step
        frames = [_in_rows(x, batch, size) for x in golden.frames.values()]
        each = manifest.results_per_step
        results = [_in_rows(_of_whole_calls(x, each), batch, each) for x in golden.outputs.values()]
        return cls(
            [Port("in", *pair) for pair in zip(manifest.blocks, frames, strict=True)],
            [Port("out", *pair) for pair in zip(manifest.answers, results, strict=True)],
            list(_states(manifest.carried)),
        )


def _states(specs: Iterable[TensorSpec]) -> Iterable[Port]:
    return (Port("state", spec) for spec in specs)


def _of_whole_calls(results: Array, each: int) -> Array:
    """The last results that fill whole calls."""
    return results[len(results) % each :]


def _in_rows(values: Array, batch: int, frames: int) -> Array:
    """The same numbers for each row of a batch, one call after the other."""
    calls = values.reshape(len(values) // frames, frames, *values.shape[1:])
    return np.repeat(calls[:, None], batch, axis=1)


def identifier(name: str) -> str:
    """A name as C takes it."""
    return re.sub(r"\W", "_", name, flags=re.ASCII)
