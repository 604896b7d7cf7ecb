"""Errors for layers that can't stream, with the layer's name and a remedy."""

from typing import Any

from kgated.errors import ConversionError
from kgated.framewise import axes_of, over_time

HINT = 'convert with `mode="sequence"`'
WHOLE = f"it needs the whole sequence; {HINT}"
EACH = "take each frame alone with `TimeDistributed`"
BEFORE = "compute spectra before the model"
HINTS: dict[str, str] = {
    "Bidirectional": f"{WHOLE}, or train it forwards only",
    "MultiHeadAttention": WHOLE,
    "GroupedQueryAttention": WHOLE,
    "Attention": WHOLE,
    "AdditiveAttention": WHOLE,
    "GroupNormalization": f"it averages over time: {WHOLE}, or use LayerNormalization",
    "Flatten": f"{WHOLE}, or flatten each frame with `TimeDistributed(Flatten())`",
    "Reshape": f"{WHOLE}, or reshape each frame with `TimeDistributed(Reshape(...))`",
    "UpSampling1D": "it makes more frames than it reads; take it out of the model",
    "Conv1DTranspose": "it makes more frames than it reads; take it out of the model",
    "Cropping1D": "it removes frames at the ends; cut the sequences before the model",
    "Permute": WHOLE,
    "GetItem": f"an index may pick out frames: {WHOLE}, or use `return_sequences=False`",
    "BaseConv": f"its windows reach over time: {WHOLE}, or {EACH}",
    "BaseDepthwiseConv": f"its windows reach over time: {WHOLE}, or {EACH}",
    "BaseSeparableConv": f"its windows reach over time: {WHOLE}, or {EACH}",
    "BaseConvTranspose": f"it makes more frames than it reads: {WHOLE}, or {EACH}",
    "BasePooling": f"its windows reach over time: {WHOLE}, or {EACH}",
    "BaseGlobalPooling": f"it reads all frames: {WHOLE}, or {EACH}",
    "BaseAdaptiveAveragePooling": f"its windows depend on the length: {WHOLE}",
    "BaseAdaptiveMaxPooling": f"its windows depend on the length: {WHOLE}",
    "Dot": f"it compares each frame with all frames: {WHOLE}",
    "STFTSpectrogram": f"its windows reach over time: {WHOLE}, or {BEFORE}",
    "MelSpectrogram": f"its windows reach over time: {WHOLE}, or {BEFORE}",
    **{
        kind: f"it changes the number of frames: {WHOLE}, or {EACH}"
        for size in "23"
        for kind in (f"Cropping{size}D", f"UpSampling{size}D", f"ZeroPadding{size}D")
    },
    "Lambda": "what its function does over time is unknown; use layers and `keras.ops`",
}
DEFAULT = (
    "streaming takes recurrent layers, causal convolution, pooling and layers that act on each "
    'frame alone; convert with `mode="sequence"`, or compute it before or after the model'
)


class StreamError(ConversionError):
    """A layer can't stream.

    Where the reason says to convert with `mode="sequence"`, see `checked`.
    """


def unsupported(layer: Any, reason: str | None = None) -> StreamError:
    """The error for a layer, or an operation of `keras.ops`, that can't stream."""
    kinds = (kind.__name__ for kind in type(layer).__mro__)
    reason = reason or next((HINTS[kind] for kind in kinds if kind in HINTS), DEFAULT)
    return StreamError(f"layer `{layer.name}` ({type(layer).__name__}) can't stream: {reason}")


def checked(error: StreamError, sequence_error: Exception | None) -> StreamError:
    """The error with what is known of `mode="sequence"`.

    Args:
        error: of the stream.
        sequence_error: why the model does not become a sequence either; None where it does.
    """
    if sequence_error is None:
        advice = "" if HINT in str(error) else f"; {HINT}, which takes the model"
        return StreamError(f"{error}{advice}")
    text = str(error).replace(f"; {HINT}, or ", "; ").replace(f"; {HINT}", "")
    return StreamError(f'{text}; `mode="sequence"` does not take the model: {sequence_error}')


def check_axis(layer: Any, rank: int) -> None:
    """Refuse a layer whose `axis` includes the batch or time.

    Args:
        layer: a layer whose attribute `axis`, if it has one, is an int, several, or None.
        rank: number of axes of its input, batch and time included.
    """
    if over_time(layer, rank):
        axes = axes_of(layer)
        raise unsupported(layer, f"its `axis={axes}` may reach over time; build it with `axis=-1`")
