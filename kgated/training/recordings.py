"""Training on long recordings in chunks; the state is carried from chunk to chunk.

This is truncated backpropagation through time. The forward pass equals that over the whole
recording, as on the device; the gradient is truncated at the beginning of each chunk.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kgated.keras_internals.graph import run_again
from kgated.training.recording_checks import check_recording, check_recordings, check_stride

Array = np.ndarray
X, START = "x", "start"


class Recordings(keras.utils.PyDataset):
    """Recordings split into chunks, for a model of `carry_state`.

    A batch has `streams` rows, and each row processes recordings one after another. A recording
    starts with a new chunk, marked by `start`, so that its state starts from zeros. The rest of its
    last chunk is padding of weight 0.

    Args:
        x: N recordings, each (T_n, F) float or (T_n,) tokens; T_n may differ.
        y: N targets, each (T_n, ...), one per frame.
        streams: B, the rows of a batch, at most N.
        steps: S, the frames per chunk, which is the maximum reach of the gradient.
        seed: the order of the recordings is drawn for each epoch from `seed` and the epoch's
            number, so that a resumed training has the order of an uninterrupted one. None: the
            order of `x` in each epoch.
        classes: labels y must be in 0..classes-1. None: not checked.
        stride: frames k per output of the model. Its target is that of the last of its frames, and
            frames at the end of a recording that are too few for an output have weight 0.

    Item k: ({"x": (B, S, ...), "start": (B,)}, y (B, S / stride, ...), weights (B, S / stride)
    float32). Weights are 0 for padding; the others make Keras's mean over an epoch the mean over
    all outputs of real frames.

    Raises:
        ValueError: there are no recordings, a recording is empty, x and y differ in length, x holds
            NaN or inf, a label, `streams` or `steps` is out of range, `steps` is no multiple of
            `stride`, or all recordings are shorter than `stride`.

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
        stride: int = 1,
    ) -> None:
        super().__init__()
        check_recordings(x, y, streams, steps)
        check_stride(x, steps, stride)
        for n, (frames, targets) in enumerate(zip(x, y, strict=True)):
            check_recording(n, frames, targets, classes)
        self.x, self.y = x, y
        self.streams, self.steps, self.seed, self.stride = streams, steps, seed, stride
        self._dealt = self._deal()
        self.set_epoch(0)
        slots = len(self) * streams * (steps // stride)
        self.weight = np.float32(slots / sum(len(frames) // stride for frames in x))

    def __len__(self) -> int:
        return max(map(len, self.rows))

    def __getitem__(self, index: int) -> tuple[dict[str, Array], Array, Array]:
        chunks = [row[index] if index < len(row) else None for row in self.rows]
        x, _ = self._batch(self.x, chunks)
        y, real = self._batch(self.y, chunks)
        start = [chunk is None or chunk[1] == 0 for chunk in chunks]
        last = slice(self.stride - 1, None, self.stride)
        inputs = {X: x, START: np.array(start, np.float32)}
        return inputs, y[:, last], real[:, last] * self.weight

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of the recordings of each row for an epoch.

        Args:
            epoch: from 0; equal numbers give equal orders.
        """
        order = np.arange(len(self.x))
        if self.seed is not None:
            order = np.random.default_rng((self.seed, epoch)).permutation(order)
        self.rows = [
            [chunk for n in sorted(row, key=order.__getitem__) for chunk in self._chunks(n)]
            for row in self._dealt
        ]

    def _deal(self) -> list[list[int]]:
        """Assign recordings to rows: the longest first, each to the row with the fewest frames.

        It is the same in all epochs, because Keras assumes that all have the length of the first.
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
        """The chunks of one batch, padded with zeros, and a mask that is 1 at real frames."""
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
    """Calls `set_epoch` of `Recordings` (or another data set that has it) at each epoch."""

    def __init__(self, data: Any) -> None:
        super().__init__()
        self.data = data

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Set the epoch of the data set."""
        self.data.set_epoch(epoch)


class Carried(keras.layers.Layer):
    """A recurrent layer that continues from the final state of the previous batch.

    It is called on [x (B, S, F), start (B,)]; a row whose `start` is not 0 starts from zeros. The
    states are non-trainable weights of the layer, so a backup contains them; no gradient flows
    through them.

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
        """Process one chunk and store its final states."""
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
        """The mask of x if the output has a time axis, else None."""
        return mask[0] if mask and self.rnn.return_sequences else None


class Carrying(keras.Model):
    """A model of `carry_state`, which has to process batches in their order."""

    def fit(self, *args: Any, shuffle: bool = False, **kwargs: Any) -> Any:
        """`keras.Model.fit` without shuffling, which would mix up the states.

        Raises:
            ValueError: `shuffle=True`.
        """
        if shuffle:
            raise ValueError(
                "`shuffle` must be False: each chunk continues the previous one. For another "
                "order of whole recordings in each epoch set the `seed` of `Recordings`"
            )
        return super().fit(*args, shuffle=False, **kwargs)


def carry_state(model: keras.Model, streams: int) -> keras.Model:
    """Build a model that shares the weights and carries its state from batch to batch.

    Compile and fit the model returned. `model` is trained with it because the weights are shared,
    and stays stateless, so that it can be saved and converted.

    Args:
        model: a functional or Sequential model with one input and one output. Layers other than
            recurrent ones should act on each frame separately, or on each k frames, such as a
            `Conv1D(units, k, strides=k)`; any other sees one chunk at a time.
        streams: B, the rows of each batch.

    Returns:
        A model from {"x": (B, S, ...), "start": (B,)} to the output of `model`, for `Recordings`.

    Raises:
        ValueError: a layer runs backwards over time, which needs the whole recording, or is
            already `stateful`; the model has more than one input or output; or `tf.distribute` is
            in use, whose replicas would each hold a part of the rows.

    Example:
        >>> stateful = carry_state(model, streams=8)
        >>> stateful.compile("adam", "sparse_categorical_crossentropy")
        >>> stateful.fit(Recordings(x, y, streams=8, steps=50), epochs=5)
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
                f"`model` must run forward in time to carry its state. Received layer "
                f"`{layer.name}`, which needs the whole recording: use a forward layer"
            )
        if getattr(layer, "stateful", False):
            raise ValueError(
                f"`model` must have no stateful layers. Received layer `{layer.name}` with "
                "`stateful=True`: build it without, because `carry_state` adds the state"
            )
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if tf.distribute.has_strategy() and tf.distribute.get_strategy().num_replicas_in_sync > 1:
            raise ValueError(
                "carried state cannot be split over `tf.distribute`'s replicas; train on one "
                "device, or on several with the JAX backend"
            )
