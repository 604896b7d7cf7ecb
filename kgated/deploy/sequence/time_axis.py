"""Which tensors of a model have a time axis, found by the same layers over more frames.

An axis of the same size need not be time: a decoder has as many rows as it was built with.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import keras

from kgated.keras_internals.graph import replay


@dataclass
class _Calls:
    """Calls the layers of a graph, and compares the shapes with those of an earlier run.

    Attributes:
        earlier: what the same calls returned with other lengths, in order; None in the first run.
        results: what the calls returned.
        failures: how many calls failed; the results of `earlier` stand for theirs.
        reads_time: whether a recurrent layer got a sequence of another length than earlier.
    """

    earlier: "_Calls | None" = None
    results: list[Any] = field(default_factory=list)
    inputs: list[Any] = field(default_factory=list)
    failures: int = 0
    reads_time: bool = False

    def __call__(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        place = len(self.results)
        self.inputs.append(keras.tree.flatten(args))
        try:
            results = layer(*args, **kwargs)
        except Exception:
            if self.earlier is None:
                raise
            self.failures += 1
            results = keras.tree.map_structure(_like, self.earlier.results[place])
        if self.earlier is not None and isinstance(
            layer, keras.layers.RNN | keras.layers.Bidirectional
        ):
            pair = self.inputs[place][0].shape, self.earlier.inputs[place][0].shape
            self.reads_time |= pair[0][1] != pair[1][1]
        self.results.append(results)
        return results


def _like(x: Any) -> Any:
    return keras.KerasTensor(x.shape, x.dtype)


class Lengths:
    """The layers of a model over sequences of a length, and of another one.

    Args:
        model: functional or Sequential.
        shapes: of its inputs, (B, T, ...) each.
        size: T.
    """

    def __init__(self, model: keras.Model, shapes: Sequence[tuple[Any, ...]], size: int) -> None:
        self._model, self._shapes, self._size = model, shapes, size
        self._first = _Calls()
        self._outputs = self._run(self._first, ())

    def with_more_frames(self, places: Sequence[int]) -> _Calls:
        """The calls with twice the frames at some inputs, given by their places."""
        calls = _Calls(self._first)
        self._run(calls, places)
        return calls

    def has_time(self, places: Sequence[int]) -> list[bool]:
        """Whether the second axis of each output grows with the frames of some inputs."""
        longer = self._run(_Calls(self._first), places)
        return [
            len(x.shape) > 2 and (x.shape[1], y.shape[1]) == (self._size, 2 * self._size)
            for x, y in zip(self._outputs, longer, strict=True)
        ]

    def _run(self, calls: _Calls, places: Sequence[int]) -> list[Any]:
        inputs = []
        for n, (x, shape) in enumerate(zip(self._model.inputs, self._shapes, strict=True)):
            shape = (shape[0], 2 * self._size, *shape[2:]) if n in places else shape
            inputs.append(keras.Input(batch_shape=shape, dtype=x.dtype))
        outputs = replay(self._model, inputs if len(inputs) > 1 else inputs[0], calls)
        return keras.tree.flatten(outputs)
