"""A model's step and sequence graphs run in Keras, beside the model's own `predict`."""

import keras
import numpy as np
import streams

from kgated.deploy.sequence.graph import sequence_model
from kgated.deploy.sequence.rnn import Lowering
from kgated.keras_internals.patches import exact_addition

LOWERINGS = ("unrolled", "while")


def predict(model, arrays):
    """Keras's outputs, on a batch of two: of one row Keras adds a column along the wrong axis.

    Not by `predict`: it is wrong with `TimeDistributed(Flatten())` and a free length.
    """
    doubled = [np.repeat(x, 2, axis=0) for x in arrays]
    results = model(doubled if len(doubled) > 1 else doubled[0], training=False)
    return [np.asarray(y)[:1] for y in keras.tree.flatten(results)]


def run_sequence(model, arrays, lowering="unrolled", max_length=None):
    """The outputs of the sequence graph; arrays are padded up to `max_length`."""
    length = None if max_length else arrays[0].shape[1]
    graph = sequence_model(model, Lowering(lowering), length=length, max_length=max_length)
    tensors = {}
    for name, x in zip(graph.frames, arrays, strict=True):
        if max_length and name not in graph.single:
            rest = [(0, 0)] * (x.ndim - 2)
            tensors["lengths"] = np.array([x.shape[1]], np.int32)
            x = np.pad(x, [(0, 0), (0, max_length - x.shape[1]), *rest], constant_values=3)
        tensors[name] = x
    with exact_addition():
        results = graph.model(tensors)
    outputs = {
        name: np.asarray(keras.ops.convert_to_numpy(results[name])) for name in graph.outputs
    }
    if max_length:
        stop = int(tensors["lengths"][0])
        outputs = {n: y if n in graph.single else y[:, :stop] for n, y in outputs.items()}
    return list(outputs.values())


def assert_close(results, expected):
    """Each output within 1e-4 of the largest value."""
    for result, reference in zip(results, expected, strict=True):
        assert result.shape == reference.shape
        np.testing.assert_allclose(
            result, reference, rtol=0, atol=1e-4 * max(1, np.abs(reference).max())
        )


def assert_sequence_equals_keras(model, arrays):
    """In both lowerings; returns what Keras says."""
    expected = predict(model, arrays)
    for lowering in LOWERINGS:
        assert_close(run_sequence(model, arrays, lowering), expected)
    return expected


def assert_stream_equals_keras(model, frames):
    """Every prefix of frames (T, ...)."""
    streamed, expected = streams.stream(model, frames), []
    for end in range(1, len(frames) + 1):
        outputs = keras.tree.flatten(model(np.repeat(frames[None, :end], 2, axis=0)))
        expected.append([np.asarray(keras.ops.convert_to_numpy(y))[0] for y in outputs])
    for n, step in enumerate(streams.stream_outputs_have_time(model)):
        column = [row[n][-1] if step else row[n] for row in expected]
        assert_close([streamed[n]], [np.stack(column)])
