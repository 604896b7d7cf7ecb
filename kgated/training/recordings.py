"""Training on long recordings in chunks, the state carried from chunk to chunk.

Truncated backpropagation through time as a model is deployed: it hears a recording in pieces and
keeps its state between them. The forward pass equals that over the whole recording; the gradient
reaches back to the beginning of the chunk and no further.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kgated.keras_graph import run_again

Array = np.ndarray
X, START = "x", "start"


class Recordings(keras.utils.PyDataset):
    """Recordings as chunks for the model that `carry_state` makes.

    `streams` recordings are heard side by side, each row of the batch one after another. A
    recording starts with a chunk of its own, which is marked, so that its state starts from zeros.
    What is left of its last chunk is padding of weight 0.

    Args:
        x: N recordings, each (T_n, F) float or (T_n,) tokens; T_n may differ.
        y: N targets, each (T_n, ...), one per frame.
        streams: B, the rows of a batch, at most N.
        steps: S, the frames of a chunk, which is how far the gradient reaches back.
        seed: the order of the recordings is drawn anew for each epoch from `seed` and the epoch's
            number, so that a training that is resumed sees what it would have seen. None: the
            order given, always.
        classes: where y are labels, they are in 0..classes-1. None: not checked.

    Item k: ({"x": (B, S, ...), "start": (B,)}, y (B, S, ...), weights (B, S) float32). Weights are
    0 for padding, and else such that Keras's mean over an epoch is that over all real frames.

    Raises:
        ValueError: no recordings, an empty one, x and y of different lengths, NaN or inf in x,
            a label, `streams` or `steps` out of range.

    Example:
        >>> data = Recordings([np.zeros((50, 3), "float32")], [np.zeros(50, "int32")], 1, 20)
        >>> len(data)
        3
    """

    def __init__(
        self,
        x: Sequence[Array],
        y: Sequence[Array],
        streams: int,
        steps: int,
        seed: int | None = None,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        _check(x, y, streams, steps)
        for n, (frames, targets) in enumerate(zip(x, y, strict=True)):
            _check_recording(n, frames, targets, classes)
        self.x, self.y = x, y
        self.streams, self.steps, self.seed = streams, steps, seed
        self._dealt = self._deal()
        self.set_epoch(0)
        slots = len(self) * streams * steps
        self.weight = np.float32(slots / sum(map(len, x)))

    def __len__(self) -> int:
        return max(map(len, self.rows))

    def __getitem__(self, index: int) -> tuple[dict[str, Array], Array, Array]:
        chunks = [row[index] if index < len(row) else None for row in self.rows]
        x, _ = self._batch(self.x, chunks)
        y, real = self._batch(self.y, chunks)
        start = [chunk is None or chunk[1] == 0 for chunk in chunks]
        return {X: x, START: np.array(start, np.float32)}, y, real * self.weight

    def set_epoch(self, epoch: int) -> None:
        """Order the recordings of each row for an epoch, counted from 0."""
        order = np.arange(len(self.x))
        if self.seed is not None:
            order = np.random.default_rng((self.seed, epoch)).permutation(order)
        self.rows = [
            [chunk for n in sorted(row, key=order.__getitem__) for chunk in self._chunks(n)]
            for row in self._dealt
        ]

    def _deal(self) -> list[list[int]]:
        """Which row hears which recordings: the longest first, each to the row with least.

        The same in all epochs, since Keras takes an epoch to be as long as the first.
        """
        rows: list[list[int]] = [[] for _ in range(self.streams)]
        for n in sorted(range(len(self.x)), key=lambda n: -len(self.x[n])):
            min(rows, key=lambda row: sum(len(self._chunks(m)) for m in row)).append(n)
        return rows

    def _chunks(self, n: int) -> list[tuple[int, int]]:
        return [(n, begin) for begin in range(0, len(self.x[n]), self.steps)]

    def _batch(
        self, source: Sequence[Array], chunks: list[tuple[int, int] | None]
    ) -> tuple[Array, Array]:
        """The chunks of one batch, padded by zeros, and 1 for each frame that is real."""
        values = np.zeros((self.streams, self.steps, *source[0].shape[1:]), source[0].dtype)
        real = np.zeros((self.streams, self.steps), np.float32)
        for row, chunk in enumerate(chunks):
            if chunk is not None:
                recording, begin = chunk
                piece = source[recording][begin : begin + self.steps]
                values[row, : len(piece)] = piece
                real[row, : len(piece)] = 1.0
        return values, real


class NextEpoch(keras.callbacks.Callback):
    """Tells `Recordings` (or another data set with `set_epoch`) which epoch begins."""

    def __init__(self, data: Any) -> None:
        super().__init__()
        self.data = data

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Deal out the epoch's data."""
        self.data.set_epoch(epoch)


class Carried(keras.layers.Layer):
    """A recurrent layer that goes on where the batch before ended, on the same weights.

    Call: [x (B, S, F), start (B,)]; a row whose `start` is not 0 starts from zeros. The states are
    weights of the layer, not trained, and so part of a backup; no gradient goes through them.

    Args:
        layer: a built recurrent layer; its cell is shared.
        streams: B.
    """

    def __init__(self, layer: keras.layers.RNN, streams: int) -> None:
        super().__init__(name=layer.name, dtype=layer.dtype_policy)
        self.rnn = keras.layers.RNN(
            layer.cell,
            return_sequences=layer.return_sequences,
            return_state=True,
            unroll=layer.unroll,
            zero_output_for_mask=layer.zero_output_for_mask,
            dtype=layer.dtype_policy,
        )
        self.carried = [
            self.add_weight((streams, size), "zeros", trainable=False, name=f"state{k}")
            for k, size in enumerate(keras.tree.flatten(layer.state_size))
        ]

    def call(self, inputs: list[Any], mask: Any = None, training: bool = False) -> Any:
        """One chunk; keeps the states at its end."""
        x, start = inputs
        fresh = ops.expand_dims(start, 1) > 0
        flat = [ops.where(fresh, 0.0, ops.convert_to_tensor(s)) for s in self.carried]
        states = keras.tree.pack_sequence_as(self.rnn.state_size, flat)
        output, *states = self.rnn(
            x, initial_state=states, mask=mask[0] if mask else None, training=training
        )
        for variable, state in zip(self.carried, keras.tree.flatten(states), strict=True):
            variable.assign(ops.cast(state, variable.dtype))
        return output

    def compute_mask(self, inputs: list[Any], mask: Any = None) -> Any:
        """The mask of x where the output has a time axis."""
        return mask[0] if mask and self.rnn.return_sequences else None


class Carrying(keras.Model):
    """What `carry_state` makes: a model that takes batches in their order alone."""

    def fit(self, *args: Any, shuffle: bool = False, **kwargs: Any) -> Any:
        """`keras.Model.fit`, whose default would shuffle the chunks, and the states with them.

        Raises:
            ValueError: `shuffle=True`.
        """
        if shuffle:
            raise ValueError(
                "`shuffle` must be False: a chunk goes on where the one before ended. For another "
                "order of whole recordings in each epoch give `Recordings` a `seed`"
            )
        return super().fit(*args, shuffle=False, **kwargs)


def carry_state(model: keras.Model, streams: int) -> keras.Model:
    """A model on the same weights that keeps its state from batch to batch, for `Recordings`.

    Compile and fit what is returned; `model` learns with it, and stays without a state of its own,
    fit to be saved and converted.

    Args:
        model: functional or Sequential, one input, one output; recurrent layers over time, else
            layers that act on each frame alone (any other sees one chunk at a time).
        streams: B, the rows of each batch.

    Returns:
        A model from {"x": (B, S, ...), "start": (B,)} to the output of `model`.

    Raises:
        ValueError: a layer that goes backwards over time, which needs the whole recording, or
            that is `stateful` already; more than one input or output; under
            `tf.distribute`, whose replicas would each hold a part of the rows.

    Example:
        >>> twin = carry_state(model, streams=8)
        >>> twin.compile("adam", "sparse_categorical_crossentropy")
        >>> twin.fit(Recordings(x, y, streams=8, steps=50), epochs=5)
    """
    _check_carries(model)
    shape = model.inputs[0].shape
    x = keras.Input(batch_shape=(streams, *shape[1:]), dtype=model.inputs[0].dtype, name=X)
    start = keras.Input(batch_shape=(streams,), name=START)
    replacements: dict[str, Carried] = {}

    def carried(layer: Any) -> Any:
        if not isinstance(layer, keras.layers.RNN):
            return layer
        return replacements.setdefault(layer.name, Carried(layer, streams))

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        return layer([args[0], start]) if isinstance(layer, Carried) else layer(*args, **kwargs)

    return Carrying({X: x, START: start}, run_again(model, x, carried, call))


def _check_carries(model: keras.Model) -> None:
    if not getattr(model, "inputs", None):
        raise ValueError(
            "`model` must be a functional or Sequential model that is built; one from "
            f"`kgated.quantize_aware` starts each batch from zeros. Received: {model!r}"
        )
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            f"`model` must have one input and one output. Received {len(model.inputs)} and "
            f"{len(model.outputs)}"
        )
    for layer in model.layers:
        backward = isinstance(layer, keras.layers.Bidirectional)
        if backward or getattr(layer, "go_backwards", False):
            raise ValueError(
                f"`model` must go forward in time to carry its state. Received layer "
                f"`{layer.name}`, which needs the whole recording: take a forward layer"
            )
        if getattr(layer, "stateful", False):
            raise ValueError(
                f"`model` must have no state of its own. Received layer `{layer.name}` with "
                "`stateful=True`: build it without, `carry_state` adds it"
            )
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if tf.distribute.has_strategy() and tf.distribute.get_strategy().num_replicas_in_sync > 1:
            raise ValueError(
                "carried state does not split over `tf.distribute`'s replicas; train on one "
                "device, or on several with the JAX backend"
            )


def _check(x: Sequence[Array], y: Sequence[Array], streams: int, steps: int) -> None:
    if not len(x) or len(x) != len(y):
        raise ValueError(f"`x` and `y` must hold the same recordings. Received {len(x)}, {len(y)}")
    if not 1 <= streams <= len(x):
        raise ValueError(f"`streams` must be in 1..{len(x)}, the recordings. Received: {streams!r}")
    if steps < 1:
        raise ValueError(f"`steps` must be at least 1. Received: {steps!r}")


def _check_recording(n: int, x: Array, y: Array, classes: int | None) -> None:
    if not len(x) or len(x) != len(y):
        raise ValueError(
            "a recording must have frames, and a target for each. Received "
            f"{len(x)} and {len(y)} in recording {n}"
        )
    if not np.isfinite(x).all():
        frame = np.argwhere(~np.isfinite(x))[0][0]
        raise ValueError(
            f"`x` holds NaN or inf in recording {n}, frame {frame}: drop the frame, or repeat the "
            "last good one"
        )
    if classes is not None and not ((y >= 0) & (y < classes)).all():
        bad = y[(y < 0) | (y >= classes)][0]
        raise ValueError(
            f"`y` must hold targets in 0..{classes - 1}. Received {bad} in recording {n}"
        )
