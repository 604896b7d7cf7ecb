"""The layers: `keras.layers.RNN` over a kgated cell, with the arguments of Keras's own layers."""

from collections.abc import Callable

import keras

from kgated.cells.names import CELL_NAMES
from kgated.layers.base import GatedRNN, run_loop
from kgated.layers.minimal import MinGRU, MinLSTM
from kgated.layers.recurrent import GRU, LSTM, PeepholeLSTM

__all__ = [
    "CELLS",
    "GRU",
    "LSTM",
    "GatedRNN",
    "MinGRU",
    "MinLSTM",
    "PeepholeLSTM",
    "run_loop",
    "to_gated",
]

# The layers by name, as arguments and commands spell them.
CELLS: dict[str, Callable[..., GatedRNN]] = {name: globals()[name] for name in CELL_NAMES}
FROM_KERAS: dict[type, type[GatedRNN]] = {keras.layers.LSTM: LSTM, keras.layers.GRU: GRU}


def to_gated(layer: keras.layers.RNN) -> keras.layers.RNN:
    """Convert a `keras.layers.LSTM` or `GRU` to kgated's layer; return any other as it is."""
    return FROM_KERAS[type(layer)].from_keras(layer) if type(layer) in FROM_KERAS else layer
