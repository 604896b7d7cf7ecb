"""The layers that act on each frame alone, in one table for streams, padding and QAT."""

from dataclasses import dataclass
from typing import Any

import keras


@dataclass(frozen=True)
class Framewise:
    """A kind of layer whose result (B, T, ...) for a frame depends on that frame alone.

    The conditions on single layers, such as their `axis`, are in `over_time` and
    `has_weights_per_frame`.

    Attributes:
        kind: a class of layers, subclasses included, or the class name of an operation of
            `keras.ops`.
        streams: whether a stream calls it on a block of frames. Operations that compute masks are
            False: streaming handles masks of any operation.
        finite: whether finite inputs give finite results. Where it is False, zeros replace the
            results of padded frames: masked steps multiply by 0, and NaN stays NaN.
        keeps_grid: whether each result at inference is an input or 0, and so keeps the
            quantization parameters (scale, zero point) of the input.
        merges: whether it takes a list of sequences.
    """

    kind: type | str
    streams: bool = True
    finite: bool = True
    keeps_grid: bool = False
    merges: bool = False

    @property
    def name(self) -> str:
        """The name of the class of the layer, or of the operation."""
        return self.kind if isinstance(self.kind, str) else self.kind.__name__


FRAMEWISE = (
    Framewise(keras.layers.Activation),
    Framewise(keras.layers.ActivityRegularization, keeps_grid=True),
    Framewise(keras.layers.AlphaDropout, keeps_grid=True),
    Framewise(keras.layers.BatchNormalization),
    Framewise(keras.layers.Dense),
    Framewise(keras.layers.Dropout, keeps_grid=True),
    Framewise(keras.layers.EinsumDense),
    Framewise(keras.layers.ELU),
    Framewise(keras.layers.Embedding),
    Framewise(keras.layers.GaussianDropout, keeps_grid=True),
    Framewise(keras.layers.GaussianNoise, keeps_grid=True),
    Framewise(keras.layers.Identity, keeps_grid=True),
    Framewise(keras.layers.LayerNormalization),
    Framewise(keras.layers.LeakyReLU),
    Framewise(keras.layers.Masking, keeps_grid=True),
    Framewise(keras.layers.Normalization),
    Framewise(keras.layers.PReLU),
    Framewise(keras.layers.ReLU),
    Framewise(keras.layers.RMSNormalization),
    Framewise(keras.layers.Rescaling),
    Framewise(keras.layers.Softmax),
    Framewise(keras.layers.SpatialDropout1D, keeps_grid=True),
    Framewise(keras.layers.TimeDistributed),
    Framewise(keras.layers.UnitNormalization),
    Framewise(keras.layers.Add, merges=True),
    Framewise(keras.layers.Average, merges=True),
    Framewise(keras.layers.Concatenate, merges=True),
    Framewise(keras.layers.Maximum, merges=True),
    Framewise(keras.layers.Minimum, merges=True),
    Framewise(keras.layers.Multiply, merges=True),
    Framewise(keras.layers.Subtract, merges=True),
    # What `x + y` or `keras.ops.tanh(x)` leave in the graph of a functional model.
    Framewise("Absolute"),
    Framewise("Add"),
    Framewise("Concatenate", merges=True),
    Framewise("Divide", finite=False),  # 0 / 0
    Framewise("Elu"),
    Framewise("Exp", finite=False),  # overflows
    Framewise("Gelu"),
    Framewise("HardSigmoid"),
    Framewise("HardSilu"),
    Framewise("LeakyRelu"),
    Framewise("Maximum"),
    Framewise("Minimum"),
    Framewise("Multiply"),
    Framewise("Negative"),
    Framewise("Relu"),
    Framewise("Relu6"),
    Framewise("Sigmoid"),
    Framewise("Silu"),
    Framewise("Softplus"),
    Framewise("Softsign"),
    Framewise("Sqrt", finite=False),  # below 0
    Framewise("Square"),
    Framewise("Subtract"),
    Framewise("Tanh"),
    Framewise("TrueDivide", finite=False),  # 0 / 0
    # What Keras puts into the graph to compute a mask.
    Framewise("All", streams=False),
    Framewise("Any", streams=False),
    Framewise("ConvertToTensor", streams=False),
    Framewise("LogicalAnd", streams=False),
    Framewise("LogicalOr", streams=False),
    Framewise("NotEqual", streams=False),
    Framewise("OnesLike", streams=False),
    Framewise("ZerosLike", streams=False),
)
# Operations that a trial may show to act on each frame alone, and whose results are finite.
FINITE_OPERATIONS = frozenset(
    {
        *("Arctan", "Argmax", "Argmin", "Cast", "Ceil", "Celu", "Clip", "Cos", "Erf", "ExpandDims"),
        *("Flip", "Floor", "GetItem", "HardTanh", "LogSigmoid", "LogSoftmax", "Matmul", "Max"),
        *("Mean", "Min", "OneHot", "Pad", "Repeat", "Reshape", "Roll", "Round", "Selu", "Sign"),
        *("Sin", "Softmax", "Sort", "Split", "Squareplus", "Squeeze", "Stack", "StopGradient"),
        *("Sum", "Swapaxes", "Take", "TanhShrink", "Tile", "TopK", "Transpose", "Where"),
    }
)
_BY_KIND = {row.kind: row for row in FRAMEWISE}


def row_of(layer: Any) -> Framewise | None:
    """The row of a layer, or of an operation of `keras.ops`; None where it has none."""
    is_layer = isinstance(layer, keras.Layer)
    kinds: tuple[type | str, ...] = type(layer).__mro__ if is_layer else (type(layer).__name__,)
    return next((_BY_KIND[kind] for kind in kinds if kind in _BY_KIND), None)


def axes_of(layer: Any) -> list[int]:
    """The layer's attribute `axis`, an int, several or None, as a list; [] where it has none."""
    return [axis for axis in keras.tree.flatten(getattr(layer, "axis", None)) if axis is not None]


def over_time(layer: Any, rank: int) -> bool:
    """Whether the layer's `axis` includes the batch or time.

    Args:
        layer: a layer, or an operation of `keras.ops`.
        rank: number of axes of its input (B, T, ...), batch and time included.
    """
    return any(axis % rank < 2 for axis in axes_of(layer))


def einsum_keeps_frames(layer: keras.layers.EinsumDense, rank: int) -> bool:
    """Whether an EinsumDense computes each frame of (B, T, ...) alone, with the same weights.

    Args:
        layer: built.
        rank: number of axes of its input, batch and time included.
    """
    operands, result = layer.equation.replace(" ", "").split("->")
    frames, kernel = operands.split(",")
    if frames.startswith("..."):
        return result.startswith("...") and rank - len(frames[3:]) >= 2
    outer = frames[:2]
    keeps_axes = "." not in outer and result.startswith(outer) and not set(outer) & set(kernel)
    return keeps_axes and not set(outer) & set(layer.bias_axes or "")


def index_keeps_frames(key: Any, rank: int) -> bool:
    """Whether `x[key]` of a tensor (B, T, ...) takes the same part of each frame.

    Args:
        key: an index, or several.
        rank: number of axes of x, batch and time included.
    """
    keys = list(key) if isinstance(key, tuple | list) else [key]
    if Ellipsis in keys:
        position = keys.index(Ellipsis)
        count = rank - sum(part is not None for part in keys) + 1
        keys[position : position + 1] = [slice(None)] * count
    are_full = [isinstance(part, slice) and part == slice(None) for part in keys[:2]]
    return all(are_full) and len(are_full) == 2


def index_of_last_frame(key: Any) -> bool:
    """Whether `x[key]` of a tensor (B, T, ...) takes the last frame of each row."""
    keys = list(key) if isinstance(key, tuple | list) else [key]
    if len(keys) < 2 or keys[0] is Ellipsis or keys[0] != slice(None):
        return False
    last = slice(-1, None)
    return keys[1] in (-1, last) if isinstance(keys[1], int | slice) else False


def same_for_all_frames(constant: Any, rank: int) -> bool:
    """Whether a constant, broadcast to (B, T, ...), has the same numbers for all frames.

    Args:
        constant: with an attribute `shape`.
        rank: number of axes, batch and time included.
    """
    shape = tuple(constant.shape)
    return len(shape) <= rank and set(shape[: max(0, len(shape) - rank + 2)]) <= {1}


def operation_keeps_frames(operation: Any, *args: Any) -> bool:
    """Whether an index, a new axis, or a product with a constant matrix, acts on each frame alone.

    Args:
        operation: of `keras.ops`, or a layer.
        *args: of its call, the first one (B, T, ...).
    """
    name = type(operation).__name__
    if isinstance(operation, keras.Layer) or name not in ("ExpandDims", "GetItem", "Matmul"):
        return False
    rank = len(args[0].shape)
    if name == "ExpandDims":
        return all(axis % (rank + 1) > 1 for axis in axes_of(operation))
    if name == "GetItem":
        return index_keeps_frames(args[1], rank)
    return rank > 2 and not isinstance(args[1], keras.KerasTensor) and len(args[1].shape) == 2


def has_weights_per_frame(layer: Any) -> bool:
    """Whether the layer is a PReLU whose weights have a time axis."""
    return isinstance(layer, keras.layers.PReLU) and 1 not in (layer.shared_axes or ())


def isolates_padding(layer: Any, rank: int) -> bool:
    """Whether padded frames in the layer's input leave the results for real frames unchanged.

    Args:
        layer: a layer, or an operation of `keras.ops`.
        rank: number of axes of its input (B, T, ...), batch and time included.
    """
    if isinstance(layer, keras.layers.Conv1D):  # padded frames come after the real ones
        return layer.padding == "causal" and tuple(layer.strides) == (1,)
    if row_of(layer) is None:
        return False
    if isinstance(layer, keras.layers.EinsumDense) and not einsum_keeps_frames(layer, rank):
        return False
    return not over_time(layer, rank) and not has_weights_per_frame(layer)


def is_finite(layer: Any) -> bool:
    """Whether a layer, or an operation of `keras.ops`, gives finite results of finite inputs."""
    row, activation = row_of(layer), getattr(layer, "activation", None)
    if row is None and not isinstance(layer, keras.Layer):
        return type(layer).__name__ in FINITE_OPERATIONS
    if row is not None and not row.finite:
        return False
    by_keras = getattr(activation, "__module__", "keras").split(".")[0] == "keras"
    return by_keras and activation is not keras.activations.exponential
