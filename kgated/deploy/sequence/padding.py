"""Layers over padded sequences: results for real frames must not depend on padded ones."""

from typing import Any

import keras
from keras import ops

from kgated.errors import ConversionError
from kgated.frame_trial import acts_on_frames_alone
from kgated.framewise import is_finite, isolates_padding, row_of
from kgated.keras_internals.graph import flatten_layers

POOLING = (keras.layers.GlobalAveragePooling1D, keras.layers.GlobalMaxPooling1D)


class PaddedTime:
    """The tensors of a graph that have a time axis, some frames of which are padding.

    Args:
        real: (B, T) boolean, which frames are no padding.
    """

    def __init__(self, real: Any) -> None:
        self.real = real
        self._timed: dict[int, Any] = {}

    def mark(self, *tensors: Any) -> None:
        """Mark tensors (B, T, ...) as having the time axis."""
        self._timed.update((id(x), x) for x in tensors)  # kept alive, so that no id is used again

    def has_time(self, x: Any) -> bool:
        """Whether a tensor is marked."""
        return id(x) in self._timed

    def timed(self, *arguments: Any) -> list[Any]:
        """The marked tensors among the arguments of a call, without masks."""
        (args, kwargs) = arguments
        inputs = args, {name: value for name, value in kwargs.items() if name != "mask"}
        return [x for x in keras.tree.flatten(inputs) if self.has_time(x)]

    def combined(self, mask: Any) -> Any:
        """(B, T): which frames are real, and not masked."""
        mask = mask[0] if isinstance(mask, list | tuple) else mask
        return self.real if mask is None else ops.logical_and(mask, self.real)

    def mark_results(self, layer: Any, results: Any) -> None:
        """Mark the results of a layer that read a sequence."""
        tensors = keras.tree.flatten(results)
        if isinstance(layer, POOLING):
            return
        if isinstance(layer, keras.layers.RNN | keras.layers.Bidirectional):
            pair = isinstance(layer, keras.layers.Bidirectional) and layer.merge_mode is None
            tensors = tensors[: 2 if pair else 1] if layer.return_sequences else []
        self.mark(*tensors)

    def pool(self, layer: Any, x: Any, mask: Any) -> Any:
        """Call a layer of `POOLING` on the real frames of x (B, T, F)."""
        if layer.data_format != "channels_last":
            raise unsupported(layer)
        if isinstance(layer, keras.layers.GlobalAveragePooling1D):
            return layer(x, mask=self.combined(mask))
        # The smallest value is never above that of a real frame, and has the same range.
        smallest = ops.min(x, axis=1, keepdims=True)
        return layer(ops.where(ops.expand_dims(self.real, -1), x, smallest))

    def without_infinities(self, layer: Any, results: Any) -> Any:
        """The results (B, T, ...) of a layer, with zeros at padded frames that may be infinite."""
        parts = flatten_layers(layer) if isinstance(layer, keras.Layer) else [layer]
        if all(map(is_finite, parts)):
            return results
        return keras.tree.map_structure(self._zero_at_padding, results)

    def _zero_at_padding(self, x: Any) -> Any:
        real = ops.reshape(self.real, (*self.real.shape, *(1,) * (len(x.shape) - 2)))
        return ops.where(real, x, ops.zeros_like(x))

    def check(self, layer: Any, tensors: list[Any]) -> None:
        """Refuse a layer whose results for real frames may depend on padded ones.

        Args:
            layer: a layer, or an operation of `keras.ops`.
            tensors: the symbolic tensors that it reads.

        Raises:
            ConversionError: with the remedy.
        """
        rank = max(len(x.shape) for x in tensors)
        for x in tensors:
            # Broadcasting adds axes to operands of lower rank, and so moves their second axis.
            aligned = len(x.shape) == rank
            if not aligned or not (self.has_time(x) or x.shape[1] == 1):
                raise unsupported(layer)
        if not isolates_padding(layer, rank):
            raise unsupported(layer)

    def keeps_frames_independent(self, operation: Any, args: Any, kwargs: Any) -> bool:
        """Whether an operation of `keras.ops` computes each frame alone; found by trial."""
        is_layer, name = isinstance(operation, keras.Layer), type(operation).__name__
        if is_layer or name == "GetItem" or row_of(operation) is not None:
            return False
        return acts_on_frames_alone(operation, args, kwargs, self.has_time)


def check_order(layer: Any) -> None:
    """Refuse results of a recurrent layer in reverse order, which padding would stand before.

    Args:
        layer: recurrent or Bidirectional.

    Raises:
        ConversionError: with the ways out.
    """
    first = getattr(layer, "forward_layer", layer)
    if first.go_backwards and layer.return_sequences:
        raise ConversionError(
            f"layer `{layer.name}` ({type(layer).__name__}) goes backwards and gives its results "
            "in reverse order, where padding would stand before the real frames; convert with "
            "`length`, for sequences of one length, in place of `max_length`, or build it with "
            "`Bidirectional`, whose results are in the order of time"
        )


def unsupported(layer: Any) -> ConversionError:
    """The error for a layer whose results may depend on padded frames."""
    return ConversionError(
        f"layer `{layer.name}` ({type(layer).__name__}) may see padding beside the real frames; "
        "convert with `length`, for sequences of one length, in place of `max_length`"
    )
