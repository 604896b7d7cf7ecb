"""A recurrent layer in quantization-aware training: its weights are rounded once per call.

The products of all frames with W come before the loop, and the loop's body carries the range of
what each point saw as one more state, row by row, so that masked frames do not count.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kgated.cells import LSTMCell
from kgated.layers import looped
from kgated.optimize.qat.fake_quant import Array, Grid
from kgated.optimize.qat.forward import Call
from kgated.optimize.qat.quantizer import Rounding, fixed_by

# Points that are results of the functions of a cell.
OF_SIGMOID = ("i", "f", "o", "z|r", "z", "r")
OF_TANH = ("g", "tanh_c")
NOTHING_SEEN = -3.0e38


def run_recurrent(
    layer: keras.layers.RNN,
    x: Array,
    grid: Grid | None,
    call: Call,
    name: str,
    mask: Array | None = None,
    initial_state: list[Array] | None = None,
    training: bool = False,
) -> list[tuple[Array, Grid, str]]:
    """A layer of ours over x (B, T, F), whose values are on `grid`.

    Args:
        layer: a `GatedRNN` that is not stateful.
        x: the frames.
        grid: what they are rounded to.
        call: the call of the model.
        name: of the layer, which the names of its points start with.
        mask: (B, T) boolean.
        initial_state: (B, ...) each; None: zeros.
        training: with dropout, and with what the points see, where the call observes.

    Returns:
        The output, and the states where the layer returns them; with the grid and point of each.
    """
    state = layer.cell.state_points[0]
    at = Rounding(
        call, f"{name}/", _fixed(layer.cell, call), {"x": grid, "state": f"{name}/{state}"}
    )
    states = initial_state or layer.get_initial_state(ops.shape(x)[0])
    states = [ops.cast(one, call.dtype) for one in states]
    x, seen_of_state = _dropped(layer.cell, x, states, training)
    rows, step = layer.cell.over_rows(x, at)
    widths = [row.shape[-1] for row in rows]
    cuts = [sum(widths[:n]) for n in range(1, len(widths))]

    def on_row(row: Array, states: list[Array]) -> tuple[Array, list[Array]]:
        parts = ops.split(row, cuts, axis=-1) if cuts else [row]
        return step(parts, seen_of_state(states[0]), states)

    observed = _Observed(call, at.prefix) if call.observing else None
    if observed is not None:
        on_row, states = observed.along(on_row), [*states, observed.start(ops.shape(x)[0])]
    last, each, states = looped(layer, on_row, ops.concatenate(rows, axis=-1), states, mask)
    if observed is not None:
        *states, extremes = states
        observed.note(extremes)
    output = each if layer.return_sequences else last
    points = [state, *layer.cell.state_points]
    found = [output, *states] if layer.return_state else [output]
    return [(x, at.grid(p), at.prefix + p) for x, p in zip(found, points, strict=False)]


def _fixed(cell: Any, call: Call) -> dict[str, Grid]:
    found = {}
    for names, function in (
        (OF_SIGMOID, cell.recurrent_activation),
        (OF_TANH, cell.activation),
    ):
        grid = fixed_by(call.scheme, getattr(function, "__name__", ""))
        found.update(dict.fromkeys(names, call.typed(grid)) if grid else {})
    if isinstance(cell, LSTMCell) and cell.coupled_gates:
        found.pop("i", None)  # 1 - f
    return found


def _dropped(
    cell: Any, x: Array, states: list[Array], training: bool
) -> tuple[Array, Callable[[Array], Array]]:
    """The frames with dropout, and what the gates see of a state."""
    if training and cell.dropout:
        x = x * ops.expand_dims(cell.get_dropout_mask(x[:, 0]), 1)
        cell.reset_dropout_mask()
    if not (training and cell.recurrent_dropout):
        return x, lambda h: h
    kept = cell.get_recurrent_dropout_mask(states[0])
    cell.reset_recurrent_dropout_mask()
    return x, lambda h: h * kept


class _Observed:
    """The ranges inside a loop, as a state (B, 2P) of it: -least and most of each of P points."""

    def __init__(self, call: Call, prefix: str) -> None:
        assert call.learned is not None, "points are found out before anything is observed"
        mine = [name for name in call.learned if name.startswith(prefix)]
        self._call = call
        self._names = [name for name in mine if name not in call.seen]

    def start(self, batch: Any) -> Array:
        return ops.full((batch, 2 * len(self._names)), NOTHING_SEEN)

    def along(self, on_row: Callable[..., Any]) -> Callable[..., Any]:
        def observing(row: Array, states: list[Array]) -> tuple[Array, list[Array]]:
            *states, extremes = states
            with self._call.row_by_row() as seen:
                output, new = on_row(row, states)
            now = ops.stack([part for name in self._names for part in seen[name]], axis=-1)
            return output, [*new, ops.maximum(extremes, now)]

        return observing

    def note(self, extremes: Array) -> None:
        found = ops.unstack(ops.max(extremes, axis=0), 2 * len(self._names))
        pairs = zip(found[::2], found[1::2], strict=True)
        self._call.seen.update(zip(self._names, pairs, strict=True))
