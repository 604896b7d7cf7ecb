"""Notes on a conversion for its user, a sentence each."""

import logging

import keras

from kgated.keras_internals.graph import flatten_layers
from kgated.keras_internals.inference_copies import has_graph
from kgated.optimize import QuantizeAware


def notes_on(model: keras.Model, mode: str | None) -> tuple[str, ...]:
    """The notes on a model that was converted; they are logged, too.

    Args:
        model: as the user had it.
        mode: as the user gave it; None: none.
    """
    model = model.inner if isinstance(model, QuantizeAware) else model
    notes = [_on_precision(model), None if mode else _on_default_mode(model)]
    texts = tuple(note for note in notes if note is not None)
    for text in texts:
        logging.getLogger("kgated").warning(text)
    return texts


def _on_default_mode(model: keras.Model) -> str | None:
    """A note where the mode is the default and the model may be meant for windows."""
    shape = model.inputs[0].shape if has_graph(model) else None
    if shape is None or len(shape) < 2 or shape[1] is None:
        return None
    frames = shape[1]
    return (
        f"the `Input` of model `{model.name}` has a fixed length of {frames} frames, and the file "
        "takes a stream, one frame per call, since `mode` was not given; for a model trained on "
        f'windows of {frames} frames, to answer once for each, give `mode="sequence"`; else give '
        '`mode="stream"`'
    )


def _on_precision(model: keras.Model) -> str | None:
    """A note on a model that Keras computes in another precision than the file."""
    policies = {layer.dtype_policy.name: layer.compute_dtype for layer in flatten_layers(model)}
    names = sorted(n for n, dtype in policies.items() if "float" in dtype and dtype != "float32")
    if not names:
        return None
    return (
        f"Keras computes model `{model.name}` in {' and '.join(names)}, and the file has the same "
        "weights in float32 or as `quantize` says; it was compared with the model computed in "
        "float32, from which Keras's own results differ by their rounding"
    )
