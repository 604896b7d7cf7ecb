"""What cannot stream, said by the layer's name, with the way out."""

from typing import Any

from kgated.errors import ConversionError
from kgated.framewise import axes_of, over_time

WHOLE = 'it needs the whole sequence; convert with `mode="sequence"`'
HINTS: dict[str, str] = {
    "Bidirectional": f"{WHOLE}, or train it forwards only",
    "MultiHeadAttention": WHOLE,
    "GroupQueryAttention": WHOLE,
    "Attention": WHOLE,
    "AdditiveAttention": WHOLE,
    "GroupNormalization": f"it averages over time: {WHOLE}, or use LayerNormalization",
    "Flatten": f"{WHOLE}, or flatten each frame with `TimeDistributed(Flatten())`",
    "Reshape": f"{WHOLE}, or reshape each frame with `TimeDistributed(Reshape(...))`",
    "UpSampling1D": "it makes more frames than it is given; take it out of the model",
    "Conv1DTranspose": "it makes more frames than it is given; take it out of the model",
    "Cropping1D": "it takes frames away at the ends; cut the sequences before the model",
    "Permute": WHOLE,
    "GetItem": f"an index may pick out frames: {WHOLE}, or use `return_sequences=False`",
    "Lambda": "nobody can see what its function does over time; use layers and `keras.ops`",
}
ELSE = (
    "streaming takes recurrent layers, causal convolution, pooling and layers that act on each "
    'frame alone; convert with `mode="sequence"`, or compute it before or after the model'
)


def refusal(layer: Any, reason: str | None = None) -> ConversionError:
    """The error for a layer, or an operation of `keras.ops`, that can't stream."""
    kind = type(layer).__name__
    found = reason or next(
        (HINTS[k.__name__] for k in type(layer).__mro__ if k.__name__ in HINTS), ELSE
    )
    return ConversionError(f"layer `{layer.name}` ({kind}) can't stream: {found}")


def check_axis(layer: Any, rank: int) -> None:
    """Refuse a layer whose `axis` reaches over the batch or over time.

    Args:
        layer: a layer whose attribute `axis`, if it has one, is an int, several, or None.
        rank: axes of its input, batch and time among them.
    """
    if over_time(layer, rank):
        axes = axes_of(layer)
        raise refusal(layer, f"its `axis={axes}` may reach over time; build it with `axis=-1`")
