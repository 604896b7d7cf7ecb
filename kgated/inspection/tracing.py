"""Record every gate and state of a model's recurrent layers over time."""

from typing import Any

import keras
import numpy as np

from kgated.inspection import probes
from kgated.steps import Array

Traces = dict[str, dict[str, np.ndarray]]


def gate_activations(model: Any, x: Any) -> Traces:
    """Record every gate and state over time, by layer and by name.

    The names are those of the equations: `i`, `f`, `g`, `o`, `h`, `c` for an LSTM (also with
    coupled gates), `z`, `r`, `g`, `h` for a GRU, `z`, `g`, `h` for a MinGRU, `f`, `i` (normalized),
    `g`, `h` for a MinLSTM, `h` for a SimpleRNN; g is the candidate.

    Args:
        model: a model that contains recurrent layers of kgated or Keras, or one such layer.
        x: the model's input, N sequences. They are one batch, without dropout.

    Returns:
        Layer's name to quantity's name to array (N, T, U), or (N, T, P) for a projected h. The time
        order is that of the layer's input, also with `go_backwards`. Masked steps are NaN. A layer
        that the model calls more than once has `name`, `name#2`, …; Keras names the layers of a
        `Bidirectional` `forward_lstm` and `backward_lstm`.

    Raises:
        ValueError: the model has no recurrent layer.
        TypeError: a recurrent layer has another cell.

    Example:
        >>> import keras, kgated.inspection
        >>> model = keras.Sequential([keras.Input((10, 4)), kgated.GRU(16, name="gru")])
        >>> traces = kgated.inspection.gate_activations(model, keras.random.normal((2, 10, 4)))
        >>> traces["gru"]["z"].shape
        (2, 10, 16)
    """
    traces: Traces = {}
    layers = probes.recurrent_layers(model)
    with probes.loops({layer: _recording(layer, traces) for layer in layers}):
        model(x, training=False)
    return traces


def _recording(layer: keras.layers.RNN, traces: Traces) -> probes.Loop:
    """The layer's loop with a recording cell; adds the gates and states to `traces`."""

    def loop(x: Array, states: Any, mask: Any) -> Any:
        probe = probes.RecordingCell(layer.cell)
        outputs, states = probes.run(layer, probe, x, states, mask)
        values = probes.split_columns(outputs, probe.widths)
        name = unique_name(layer.name, traces)
        traces[name] = {k: _over_input(layer, part, mask) for k, part in values.items()}
        return values["h"][:, -1], values["h"], states

    return loop


def unique_name(name: str, names: Any) -> str:
    """`name`, or the first of `name#2`, `name#3`, … that is not in `names`."""
    candidates = [name, *(f"{name}#{n}" for n in range(2, len(names) + 2))]
    return next(candidate for candidate in candidates if candidate not in names)


def _over_input(layer: keras.layers.RNN, part: Array, mask: Any) -> np.ndarray:
    """A trace (N, T, U) in the order of the input, with NaN at masked steps."""
    values = np.array(keras.ops.convert_to_numpy(part))
    if layer.go_backwards:
        values = values[:, ::-1]
    if mask is not None:
        hidden = ~keras.ops.convert_to_numpy(mask).astype(bool)
        values[hidden.reshape(values.shape[:2])] = np.nan
    return values
