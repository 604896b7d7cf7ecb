"""Gated recurrent networks for Keras 3, made to run on a device in real time."""

from typing import TYPE_CHECKING, Any

from kgated.cells import GRUCell, LSTMCell, PeepholeLSTMCell
from kgated.errors import ConversionError
from kgated.layers import GRU, LSTM, PeepholeLSTM
from kgated.optimize import cluster, prune, quantize_aware, sparsity

if TYPE_CHECKING:
    from kgated.deploy import to_tflite
    from kgated.mixed_precision import mixed_recipe, sensitivity

__all__ = [
    "GRU",
    "LSTM",
    "ConversionError",
    "GRUCell",
    "LSTMCell",
    "PeepholeLSTM",
    "PeepholeLSTMCell",
    "cluster",
    "mixed_recipe",
    "prune",
    "quantize_aware",
    "sensitivity",
    "sparsity",
    "to_tflite",
]


def __getattr__(name: str) -> Any:
    # The layers need Keras alone; what conversion needs is imported when it is asked for.
    if name == "to_tflite":
        from kgated.deploy import to_tflite

        return to_tflite
    if name in ("mixed_recipe", "sensitivity"):
        from kgated import mixed_precision

        return getattr(mixed_precision, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
