"""Tensors that lie inside another one: results of RESHAPE, SPLIT and slices of whole rows."""

from collections.abc import Callable, Mapping

import numpy as np

from kgated.deploy.c.graph import Operator, Tensor

View = tuple[Tensor, int]
"""The tensor that holds the numbers, and the place of the first one in it."""


class Views:
    """Where the numbers of each tensor lie.

    Args:
        operators: in order; those that only name a part of a tensor anew are `skipped`.
    """

    def __init__(self, operators: list[Operator]) -> None:
        self._views: dict[Tensor, View] = {}
        self.skipped: set[Operator] = set()
        for operator in operators:
            parts = _VIEWS[operator.name](operator) if operator.name in _VIEWS else None
            source = next((x for x in operator.inputs if x is not None and x.data is None), None)
            if parts is None or source is None:
                continue
            base, start = self.of(source)
            for output, offset in parts.items():
                self._views[output] = base, start + offset
            self.skipped.add(operator)

    def of(self, tensor: Tensor) -> View:
        """The tensor that holds the numbers, and where they begin."""
        return self._views.get(tensor, (tensor, 0))


def _all_numbers(operator: Operator) -> dict[Tensor, int]:
    return {operator.output: 0}


def _split(operator: Operator) -> dict[Tensor, int] | None:
    """The parts, where the axis is the first one longer than 1."""
    by_size = operator.name == "SPLIT_V"
    source, axis = operator.input(0 if by_size else 1), operator.constant(2 if by_size else 0)
    if np.prod(source.shape[: int(axis.ravel()[0]) % len(source.shape)]) != 1:
        return None
    offsets, start = {}, 0
    for part in operator.outputs:
        offsets[part] = start
        start += part.size
    return offsets


def _unpack(operator: Operator) -> dict[Tensor, int] | None:
    """The parts along an axis that they lose, where it is the first one longer than 1."""
    source = operator.input(0)
    if np.prod(source.shape[: int(operator.options["axis"]) % len(source.shape)]) != 1:
        return None
    return {part: n * part.size for n, part in enumerate(operator.outputs)}


def _slice(operator: Operator) -> dict[Tensor, int] | None:
    """The part, where its numbers lie one after the other."""
    source = operator.input(0)
    places = np.arange(source.size).reshape(source.shape)[slices(operator)].ravel()
    if (np.diff(places) != 1).any():
        return None
    return {operator.output: int(places[0])}


def slices(operator: Operator) -> tuple[slice | int, ...]:
    """The index that a SLICE or STRIDED_SLICE takes of its input."""
    shape = operator.input(0).shape
    begin, second = (operator.constant(n).ravel().tolist() for n in (1, 2))
    if operator.name == "SLICE":
        sizes = [n if n >= 0 else shape[k] - begin[k] for k, n in enumerate(second)]
        return tuple(slice(start, start + size) for start, size in zip(begin, sizes, strict=True))
    strides, options = operator.constant(3).ravel().tolist(), operator.options
    if options.get("ellipsisMask") or options.get("newAxisMask") or options.get("offset"):
        raise operator.refused("it inserts axes")
    index: list[slice | int] = []
    for k, stride in enumerate(strides):
        if options.get("shrinkAxisMask", 0) >> k & 1:
            index.append(begin[k])
            continue
        first = None if options.get("beginMask", 0) >> k & 1 else begin[k]
        last = None if options.get("endMask", 0) >> k & 1 else second[k]
        index.append(slice(first, last, stride))
    return tuple(index)


_VIEWS: Mapping[str, Callable[[Operator], dict[Tensor, int] | None]] = {
    **dict.fromkeys(("RESHAPE", "SQUEEZE", "EXPAND_DIMS"), _all_numbers),
    **dict.fromkeys(("SPLIT", "SPLIT_V"), _split),
    "UNPACK": _unpack,
    **dict.fromkeys(("SLICE", "STRIDED_SLICE"), _slice),
}
