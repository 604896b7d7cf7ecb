"""The cells: weights, configuration and one call to a step. The formulas are in `kgated.steps`.

Each cell is Keras's own cell with another step, so every argument of `keras.layers.LSTMCell` and
`keras.layers.GRUCell` is there with its name, order and default; the differences:

- `GRUCell` has `reset_after=False` and `update_gate="candidate"` as defaults, the textbook's form;
- `recurrent_dropout` draws one mask for all gates, held over the time steps, as `dropout` does;
- `dropout` and `recurrent_dropout` outside [0, 1) are refused, not clipped;
- `implementation` is ignored: there is one;
- `MinGRUCell` and `MinLSTMCell` have no counterpart in Keras.
"""

from kgated.cells.base import choose, register
from kgated.cells.gru import GRUCell
from kgated.cells.lstm import LSTMCell
from kgated.cells.minimal import MinGRUCell, MinimalCell, MinLSTMCell
from kgated.cells.peephole import PeepholeLSTMCell

__all__ = [
    "GRUCell",
    "LSTMCell",
    "MinGRUCell",
    "MinLSTMCell",
    "MinimalCell",
    "PeepholeLSTMCell",
    "choose",
    "register",
]
