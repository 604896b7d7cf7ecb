"""Each (layer, options) once. What is not a row here is not in the package.

`KGATED_TEST_ROWS`, names of rows between blanks, narrows the contract to these.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import reference

import kgated
from kgated.cells import MinimalCell

BATCH, TIME, FEATURES, UNITS = 2, 4, 3, 4
# What the oracle can't see from the weights.
ORACLE_OPTIONS = {
    "coupled_gates",
    "output_peephole",
    "reset_after",
    "update_gate",
    "activation",
    "recurrent_activation",
}


ORACLES = {
    kgated.LSTM: reference.lstm,
    kgated.PeepholeLSTM: reference.lstm,
    kgated.GRU: reference.gru,
    kgated.MinGRU: reference.min_gru,
    kgated.MinLSTM: reference.min_lstm,
}


@dataclass(frozen=True)
class Row:
    """A layer with options."""

    layer: type[keras.layers.RNN]
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self):
        names = {True: "{0}", False: "no_{0}"}
        options = [names.get(v, "{0}_{1}").format(k, v) for k, v in self.options.items()]
        return "-".join([self.layer.__name__, *options])

    def build(self, rng=None, features=FEATURES, units=UNITS, **more):
        """The layer built, its weights drawn from `rng` where there is one."""
        layer = self.layer(units, **{**self.options, **more})
        batch = BATCH if more.get("stateful") else None
        layer.build((batch, None, features))
        return layer if rng is None else randomized(layer, rng)

    @property
    def recurrent(self):
        """Whether the cell has weights that multiply the state."""
        return not issubclass(self.layer.cell_class, MinimalCell)

    def cell(self, units=UNITS, **more):
        """The layer's cell alone."""
        return self.layer.cell_class(units, **{**self.options, **more})

    def oracle(self, x, weights, **more):
        """Outputs over time and final states as the float64 oracle computes them."""
        options = {k: v for k, v in self.options.items() if k in ORACLE_OPTIONS}
        return ORACLES[self.layer](x, weights, **{**options, **more})


def randomized(layer, rng):
    """Every weight at random, those that start as zeros or ones too, the same in each run."""
    layer.set_weights([rng.normal(0.0, 0.6, w.shape) for w in layer.get_weights()])
    return layer


def weights_of(layer):
    """The weights of a layer or cell by name."""
    return {w.name: w.numpy() for w in getattr(layer, "cell", layer).weights}


def inputs(rng, batch=BATCH, time=TIME, features=FEATURES):
    return rng.normal(size=(batch, time, features)).astype(np.float32)


def values(tensors):
    """Tensors, nested as they are, as NumPy arrays."""
    return keras.tree.map_structure(keras.ops.convert_to_numpy, tensors)


ODD = {"activation": "relu", "recurrent_activation": "hard_sigmoid"}
ALL = {"coupled_gates": True, "projection_units": 3, "layer_norm": True}

EVERY_ROW = (
    Row(kgated.LSTM),
    Row(kgated.LSTM, {"use_bias": False}),
    Row(kgated.LSTM, {"unit_forget_bias": False, **ODD}),
    Row(kgated.LSTM, {"coupled_gates": True}),
    Row(kgated.LSTM, {"projection_units": 3}),
    Row(kgated.LSTM, {"layer_norm": True}),
    Row(kgated.LSTM, {"layer_norm": True, "use_bias": False}),
    Row(kgated.LSTM, ALL),
    Row(kgated.PeepholeLSTM),
    Row(kgated.PeepholeLSTM, {"output_peephole": "previous"}),
    Row(kgated.PeepholeLSTM, {"peephole": "full"}),
    Row(kgated.PeepholeLSTM, {"peephole": "full", "output_peephole": "previous"}),
    Row(kgated.PeepholeLSTM, {"coupled_gates": True}),
    Row(kgated.PeepholeLSTM, {"projection_units": 3}),
    Row(kgated.PeepholeLSTM, {"layer_norm": True}),
    Row(kgated.PeepholeLSTM, {"peephole": "full", "output_peephole": "previous", **ALL}),
    Row(kgated.GRU),
    Row(kgated.GRU, {"use_bias": False, **ODD}),
    Row(kgated.GRU, {"update_gate": "state"}),
    Row(kgated.GRU, {"reset_after": True}),
    Row(kgated.GRU, {"reset_after": True, "use_bias": False}),
    Row(kgated.GRU, {"reset_after": True, "update_gate": "state"}),
    Row(kgated.MinGRU),
    Row(kgated.MinGRU, {"use_bias": False, "activation": "tanh"}),
    Row(kgated.MinLSTM),
    Row(kgated.MinLSTM, {"use_bias": False, "activation": "tanh"}),
)

WANTED = os.environ.get("KGATED_TEST_ROWS", "").split() or [str(row) for row in EVERY_ROW]
ROWS = tuple(row for row in EVERY_ROW if str(row) in WANTED)
