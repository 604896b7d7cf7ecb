"""Layers that act on each frame alone, row by row: streams, and sequences with padding."""

import re

import keras
import numpy as np
import pytest
import streams
from kgated_edge import SequenceModel

import kgated
from kgated.deploy.streaming import step_model
from kgated.errors import ConversionError
from kgated.framewise import FRAMEWISE, row_of

T, F = 4, 5
L = keras.layers
# How to build the layers that need arguments, or have no effect with their defaults.
BUILD = {
    "Activation": lambda: L.Activation("tanh"),
    "Dense": lambda: L.Dense(4),
    "Dropout": lambda: L.Dropout(0.5),
    "EinsumDense": lambda: L.EinsumDense("...f,fg->...g", 4),
    "Embedding": lambda: L.Embedding(11, 4),
    "GaussianDropout": lambda: L.GaussianDropout(0.5),
    "GaussianNoise": lambda: L.GaussianNoise(0.5),
    "Normalization": lambda: L.Normalization(mean=[0.5] * F, variance=[2.0] * F),
    "PReLU": lambda: L.PReLU(shared_axes=[1]),
    "AlphaDropout": lambda: L.AlphaDropout(0.5),
    "Rescaling": lambda: L.Rescaling(2.0, offset=0.5),
    "SpatialDropout1D": lambda: L.SpatialDropout1D(0.5),
    "TimeDistributed": lambda: L.TimeDistributed(L.Dense(4)),
}
BINARY = {"Add", "Divide", "Maximum", "Minimum", "Multiply", "Subtract", "TrueDivide"}
STREAMING = [row for row in FRAMEWISE if row.streams]


def row_id(row):
    return row.name if isinstance(row.kind, type) else f"ops.{row.name}"


def called(row, x):
    """What a layer or operation of this row gives on a sequence."""
    if isinstance(row.kind, str):
        function = getattr(keras.ops, re.sub(r"(?<!^)(?=[A-Z])", "_", row.name).lower())
        if row.merges:
            return function([x, x * 0.5 + 1.0], axis=-1)
        return function(x, x * 0.5 + 1.0) if row.name in BINARY else function(x)
    layer = BUILD.get(row.name, row.kind)()
    return layer([x, L.Dense(F)(x)] if row.merges else x)


def input_of(row):
    tokens = row.kind is L.Embedding
    return keras.Input((None,), dtype="int32") if tokens else keras.Input((None, F))


def groups_of(rows, size=8):
    """Rows that take the same frames, a few at a time, for a file each."""
    for takes in ("tokens", "positive numbers", "numbers"):
        alike = [row for row in rows if frames_of(row) == takes]
        yield from (alike[n : n + size] for n in range(0, len(alike), size))


def frames_of(row):
    if row.kind is L.Embedding:
        return "tokens"
    return "numbers" if row.finite else "positive numbers"  # no square root below 0


def model_of(rows, rng):
    """The layer of each row: alone, before a mean, and all before one recurrent layer."""
    x = input_of(rows[0])
    results = [called(row, x) for row in rows]
    together = L.Concatenate()(results) if len(results) > 1 else results[0]
    outputs = [kgated.GRU(3, go_backwards=True)(together)]
    for y in results:
        outputs += [y, L.GlobalAveragePooling1D()(y)]
    return streams.randomize(keras.Model(x, outputs), rng)


def frames_for(row, rng):
    if row.kind is L.Embedding:
        return rng.integers(1, 11, T).astype(np.int32)
    return rng.normal(size=(T, F)).astype(np.float32)


@pytest.mark.parametrize(
    "rows", list(groups_of(STREAMING)), ids=lambda rows: f"{row_id(rows[0])}..{row_id(rows[-1])}"
)
def test_padding_leaves_the_results_of_every_row_unchanged(rows, rng, tmp_path):
    model, frames, path = model_of(rows, rng), frames_for(rows[0], rng), tmp_path / "m.tflite"
    positive = not rows[0].finite
    frames = np.abs(frames) if positive else frames
    assert {row.kind for row in rows} <= {getattr(row_of(y), "kind", 0) for y in model.operations}
    data = frames[None] if positive else None
    kgated.to_tflite(model, path, mode="sequence", max_length=T, calibration=data)
    edge, names = SequenceModel(path), ["all", *(row_id(row) for row in rows for _ in range(2))]
    for length in (1, 3, T):
        expected = model(frames[None, :length], training=False)
        results = edge.run(frames[:length])
        for name, result, reference in zip(names, results.values(), expected, strict=True):
            np.testing.assert_allclose(result, np.asarray(reference)[0], atol=2e-5, err_msg=name)
    fed = edge._binding.inputs["frames"]
    edge.run(frames[:3])
    before = edge._read()
    fed[3:] = 7 if fed.dtype == np.int32 else 50.0
    edge._binding.interpreter.invoke()
    for name, after in edge._read().items():
        real = slice(0, 3) if len(after) == T else slice(None)
        np.testing.assert_array_equal(after[real], before[name][real], err_msg=name)


@pytest.mark.parametrize("row", STREAMING, ids=row_id)
def test_every_row_streams(row, rng):
    x = input_of(row)
    model = streams.randomize(keras.Model(x, called(row, x)), rng)
    frames = np.abs(frames_for(row, rng))
    streams.assert_equal(streams.stream(model, frames), streams.prefixes(model, frames))


def other_rank(x):
    grid = L.TimeDistributed(L.RepeatVector(T))(x)  # (B, T, T, F)
    return L.Add(name="guilty")([x, grid])


AXIS = r"`axis=\[.*\]` may reach over time; build it with `axis=-1`"
OVER_TIME = {
    "Softmax of two axes": (lambda x: L.Softmax(axis=(1, 2), name="guilty")(x), AXIS),
    "UnitNormalization": (lambda x: L.UnitNormalization(axis=-2, name="guilty")(x), AXIS),
    "LayerNormalization": (lambda x: L.LayerNormalization(axis=1, name="guilty")(x), AXIS),
    "RMSNormalization": (lambda x: L.RMSNormalization(axis=[1, 2], name="guilty")(x), AXIS),
    "Concatenate": (lambda x: L.Concatenate(axis=1, name="guilty")([x, x]), AXIS),
    "PReLU": (lambda x: L.PReLU(name="guilty")(x), r"build it with `shared_axes=\[1\]`"),
    "ranks": (other_rank, "sequences of as many frames each"),
}


@pytest.mark.parametrize("case", OVER_TIME)
def test_a_layer_over_time_is_refused_in_both_modes(case, tmp_path):
    build, streaming = OVER_TIME[case]
    x = keras.Input((T, F))
    model = keras.Model(x, build(x))
    with pytest.raises(ConversionError, match=r"`guilty` .* may see padding.*`length`"):
        kgated.to_tflite(model, tmp_path / "m.tflite", mode="sequence", max_length=T)
    with pytest.raises(ConversionError, match=f"`guilty` .*{streaming}"):
        step_model(model)


def test_a_softmax_over_time_is_refused_in_a_stream():
    x = keras.Input((T, F))
    with pytest.raises(ConversionError, match=f"`guilty` .*{AXIS}"):
        step_model(keras.Model(x, L.Softmax(axis=1, name="guilty")(x)))


@pytest.mark.parametrize("row", [row for row in FRAMEWISE if row.keeps_grid], ids=row_id)
def test_the_results_of_a_row_that_keeps_the_grid_are_inputs_or_0(row, rng):
    frames = rng.normal(size=(1, T, F)).astype(np.float32)
    result = np.asarray(called(row, frames))
    assert ((result == frames) | (result == 0)).all()


def test_subclasses_have_the_row_of_their_class_and_operations_their_own():
    class Mine(L.Dense):
        pass

    assert row_of(Mine(2)).kind is L.Dense
    assert row_of(L.Conv1D(2, 3)) is None
    x = keras.Input((None, F))
    assert row_of((x + x)._keras_history.operation).kind == "Add"


def test_no_kind_has_two_rows():
    assert len({row.kind for row in FRAMEWISE}) == len(FRAMEWISE)
