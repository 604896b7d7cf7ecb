"""Gated recurrent networks for Keras 3, made to run on a device in real time."""

import importlib
from typing import TYPE_CHECKING, Any

from kgated.cells import GRUCell, LSTMCell, MinGRUCell, MinLSTMCell, PeepholeLSTMCell
from kgated.described_model import DescribedSequential as _DescribedSequential  # noqa: F401 - registers it
from kgated.errors import ConversionError
from kgated.layers import GRU, LSTM, MinGRU, MinLSTM, PeepholeLSTM
from kgated.optimize import cluster, prune, quantize_aware, sparsity

if TYPE_CHECKING:
    from kgated import audio, data, deploy, inspection, interop, mixed_precision, models, training
    from kgated.deploy import to_tflite
    from kgated.mixed_precision import mixed_recipe, sensitivity

__all__ = [
    "GRU",
    "LSTM",
    "ConversionError",
    "GRUCell",
    "LSTMCell",
    "MinGRU",
    "MinGRUCell",
    "MinLSTM",
    "MinLSTMCell",
    "PeepholeLSTM",
    "PeepholeLSTMCell",
    "audio",
    "cluster",
    "data",
    "deploy",
    "inspection",
    "interop",
    "mixed_precision",
    "mixed_recipe",
    "models",
    "prune",
    "quantize_aware",
    "sensitivity",
    "sparsity",
    "to_tflite",
    "training",
]


MODULES = (
    *("audio", "compare", "data", "deploy", "inspection", "interop", "mixed_precision", "models"),
    *("optimize", "report", "training"),
)
"""Parts of the package that are imported when they are asked for, such as `kgated.interop`."""


def __getattr__(name: str) -> Any:
    # The layers need Keras alone; what conversion needs is imported when it is asked for.
    if name == "to_tflite":
        from kgated.deploy import to_tflite

        return to_tflite
    if name in ("mixed_recipe", "sensitivity"):
        from kgated import mixed_precision

        return getattr(mixed_precision, name)
    if name in MODULES:
        return importlib.import_module(f"kgated.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *MODULES})
