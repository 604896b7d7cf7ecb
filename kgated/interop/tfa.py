"""Convert weights of `tfa.rnn.PeepholeLSTMCell` to `kgated.PeepholeLSTM` and back."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kgated.interop import gates
from kgated.interop.gates import Array, Weights
from kgated.layers import GRU, PeepholeLSTM

PEEPHOLES = tuple(f"{gate}_gate_peephole_weights" for gate in ("input", "forget", "output"))
NAMES = ("kernel", "recurrent_kernel", "bias", *PEEPHOLES)


def from_tfa(weights: Mapping[str, Any] | Sequence[Any], **options: Any) -> Any:
    """Build the `kgated.PeepholeLSTM` that computes the same as a `tfa.rnn.PeepholeLSTMCell`.

    The cell's equations are the layer's default: diagonal peepholes, where i and f read c and o
    reads c'.

    Args:
        weights: the list of the cell's `get_weights()`, or name to array: `kernel` (F, 4U),
            `recurrent_kernel` (U, 4U), `bias` (4U,) if the cell has one, and
            `input_gate_peephole_weights`, `forget_gate_peephole_weights`,
            `output_gate_peephole_weights` (U,). In a name such as `rnn/cell/kernel:0` only the last
            part is read.
        options: of `kgated.PeepholeLSTM`, such as `return_sequences=True`, or `activation` if the
            cell's is not the default, because the weights don't contain it.

    Raises:
        ValueError: a weight is missing, unknown or of the wrong shape; the message names it.
    """
    arrays = _named(weights)
    required = [name for name in NAMES if name != "bias"]
    if missing := [name for name in required if name not in arrays]:
        raise ValueError(f"`weights` has no `{missing[0]}`; it holds {list(arrays)}")
    if unknown := sorted(arrays.keys() - set(NAMES)):
        raise ValueError(f"`weights` holds {unknown}, which a PeepholeLSTMCell doesn't have")
    _check_shapes(arrays)
    converted = {name: arrays[name] for name in arrays if name not in PEEPHOLES}
    converted["peephole_kernel"] = np.stack([arrays[name] for name in PEEPHOLES])
    return gates.make(PeepholeLSTM, len(arrays[PEEPHOLES[0]]), converted, **options)


def _named(weights: Mapping[str, Any] | Sequence[Any]) -> Weights:
    if isinstance(weights, Mapping):
        short = [name.rpartition("/")[2].removesuffix(":0") for name in weights]
        if len(set(short)) < len(short):
            raise ValueError(f"`weights` must be those of one cell. Received: {list(weights)}")
        return dict(zip(short, map(gates.array, weights.values()), strict=True))
    names = NAMES if len(weights) == len(NAMES) else [name for name in NAMES if name != "bias"]
    if len(weights) != len(names):
        raise ValueError(
            f"`weights` must be {len(NAMES)} arrays, {list(NAMES)}, or one less without a bias. "
            f"Received: {len(weights)}"
        )
    return dict(zip(names, map(gates.array, weights), strict=True))


def _check_shapes(arrays: Weights) -> None:
    units, features = (arrays[name].shape[:1] for name in ("recurrent_kernel", "kernel"))
    columns = tuple(4 * size for size in units)
    expected = {
        "recurrent_kernel": ((*units, *columns), "(U, 4U)"),
        "kernel": ((*features, *columns), "(F, 4U)"),
        "bias": (columns, "(4U,)"),
        **dict.fromkeys(PEEPHOLES, (units, "(U,)")),
    }
    for name, (shape, meaning) in expected.items():
        if name in arrays:
            gates.check_shape(name, arrays[name], shape, meaning)


def to_tfa(layer: Any) -> dict[str, Array]:
    """Convert an LSTM to the weights of the `tfa.rnn.PeepholeLSTMCell` that computes the same.

    An LSTM without peepholes gets zero peepholes; `coupled_gates` is rewritten exactly, as in
    `to_keras`.

    Args:
        layer: an LSTM or `PeepholeLSTM` of kgated, or a `keras.layers.LSTM`.

    Returns:
        Name to array, in the order of the cell's `set_weights`:
        `cell.set_weights(list(to_tfa(layer).values()))`.

    Raises:
        TypeError: `layer` is not an LSTM.
        ValueError: the cell doesn't have an option of the layer; the message names it.
    """
    layer, target = gates.to_gated(layer), "tfa.rnn.PeepholeLSTMCell"
    if isinstance(layer, GRU):
        raise TypeError(f"`layer` must be a PeepholeLSTM or an LSTM. Received: {layer!r}")
    gates.require(layer, target, projection_units=None)
    if isinstance(layer, PeepholeLSTM):
        gates.require(layer, target, peephole="diagonal", output_peephole="current")
    weights = gates.plain_lstm(layer, target)
    zeros = np.zeros((3, layer.units), weights["kernel"].dtype)
    peepholes = zip(PEEPHOLES, weights.get("peephole_kernel", zeros), strict=True)
    return {name: weights[name] for name in NAMES if name in weights} | dict(peepholes)
