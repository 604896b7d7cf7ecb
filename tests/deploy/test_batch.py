"""Files of several rows: three at once are three alone, and what Keras says."""

import keras
import numpy as np
import pytest
from kgated_edge import (
    DataError,
    EdgeError,
    EdgeModel,
    FrameError,
    SequenceData,
    SequenceModel,
    SessionPool,
    StateError,
    check,
    open_model,
    selftest,
)
from kgated_edge.cli import main
from streams import randomize

import kgated
from kgated.deploy.inspect import describe, manifest_facts

L = keras.layers
B, T, F = 3, 8, 5
X_SHAPE = (2 * B, T, F)


def conv():
    stack = [
        L.Conv1D(6, 3, strides=2, padding="causal"),
        L.TimeDistributed(L.Dense(4)),
        kgated.LSTM(6, return_sequences=True),
        L.GlobalAveragePooling1D(),
    ]
    return keras.Sequential([keras.Input((None, F)), *stack])


def recurrent(length=None):
    both = L.Bidirectional(L.LSTM(6, return_sequences=True))
    first = kgated.PeepholeLSTM(6, return_sequences=True) if length is None else both
    second = kgated.GRU(4) if length is None else kgated.LSTM(4)
    return keras.Sequential([keras.Input((length, F)), first, second, L.Dense(3)])


STREAM = {"mode": "stream"}
UNROLLED, LOOP, FUSED = (
    {"mode": "sequence", "length": T, "lowering": name} for name in ("unrolled", "while", "fused")
)
ROWS = [
    (conv, STREAM, "none"),
    (conv, {**STREAM, "state": "internal"}, "dynamic"),
    (recurrent, STREAM, "dynamic4"),
    (recurrent, STREAM, "int8"),
    (lambda: recurrent(T), UNROLLED, "int8"),
    (lambda: recurrent(T), LOOP, "none"),
    (lambda: recurrent(T), LOOP, "dynamic"),
    (lambda: recurrent(T), FUSED, "float16"),
    (lambda: recurrent(T), FUSED, "int8"),
]
LIMITS = {"none": 1e-5, "float16": 2e-3, "dynamic": 0.05, "dynamic4": 0.3, "int8": 0.1}


@pytest.mark.parametrize(("build", "options", "quantize"), ROWS)
def test_a_batch_of_three_equals_three_single_runs(build, options, quantize, x, rng, tmp_path):
    model, arguments = randomize(build(), rng), {**options, "quantize": quantize, "calibration": x}
    unbatched = open_model(kgated.to_tflite(model, tmp_path / "1.tflite", **arguments).path)
    conversion = kgated.to_tflite(model, tmp_path / "3.tflite", batch=B, **arguments)
    three, rows = open_model(conversion.path), x[B:]
    results = three.run(rows)
    for row, frames in zip(results, rows, strict=True):
        unbatched.reset()
        np.testing.assert_allclose(row, unbatched.run(frames), atol=1e-6)
    last = results if options["mode"] == "sequence" else results[:, -1]
    expected = np.asarray(model(rows, training=False))
    np.testing.assert_allclose(last, expected, atol=LIMITS[quantize])
    assert np.abs(last - expected[::-1]).max() > LIMITS[quantize] / 2
    assert selftest(conversion.path).passed
    facts = manifest_facts(describe(conversion.path).manifest)
    assert facts["batch"] == facts["recipe"]["batch"] == B
    shapes = {t.shape[0] for s in describe(conversion.path).signatures for t in s.inputs}
    assert shapes == {B}


@pytest.mark.parametrize("lowering", ["unrolled", "while"])
def test_rows_of_different_lengths(lowering, x, rng, tmp_path):
    layers = [L.Masking(), L.Bidirectional(kgated.LSTM(4, return_sequences=True)), L.Dense(2)]
    model = randomize(keras.Sequential([keras.Input((None, F)), *layers]), rng)
    conversion = kgated.to_tflite(
        model, tmp_path / "m.tflite", mode="sequence", max_length=T, lowering=lowering, batch=B
    )
    edge, ends, frames = SequenceModel(conversion.path), [2, 7, 5], x[:B, :7].copy()
    frames[0, 2:] = np.nan  # what stands behind the end of a row is nobody's business
    results = edge.run(frames, ends)
    assert results.shape == (B, 7, 2)
    for row, sequence, end in zip(results, frames, ends, strict=True):
        expected = np.asarray(model(sequence[None, :end], training=False))[0]
        np.testing.assert_allclose(row[:end], expected, atol=1e-5)
        assert not row[end:].any()
    np.testing.assert_allclose(edge.run(x[:B, :4]), model(x[:B, :4], training=False), atol=1e-5)


def test_tokens_in_rows(rng, tmp_path):
    layers = [L.Embedding(11, 6, mask_zero=True), L.LSTM(4), L.Dense(2)]
    model = randomize(keras.Sequential([keras.Input((None,), dtype="int32"), *layers]), rng)
    tokens = rng.integers(0, 11, (B, T)).astype(np.int32)
    conversion = kgated.to_tflite(model, tmp_path / "m.tflite", batch=B, quantize="dynamic")
    results = open_model(conversion.path).run(tokens)[:, -1]
    np.testing.assert_allclose(results, model(tokens, training=False), atol=0.05)
    with pytest.raises(FrameError, match=r"a token must be in 0\.\.10, got 11"):
        open_model(conversion.path).step(np.array([1, 11, 2], np.int32))


def test_what_a_runner_of_rows_refuses(x, rng, tmp_path, capsys):
    model = randomize(keras.Sequential([keras.Input((None, F)), kgated.GRU(3)]), rng)
    stream = open_model(kgated.to_tflite(model, tmp_path / "s.tflite", batch=B).path)
    with pytest.raises(FrameError, match=r"shape \(3, 5\) .* got shape \(5,\)"):
        stream.step(x[0, 0])
    with pytest.raises(FrameError, match=r"3 sequences at once, \(3, T, 5\), got shape \(8, 5\)"):
        stream.run(x[0])
    with pytest.raises(StateError, match=r"shape \(3, 3\)"):
        stream.state = {name: value[0] for name, value in stream.state.items()}
    with pytest.raises(EdgeError, match="a pool takes files of batch 1"):
        SessionPool(tmp_path / "s.tflite")
    with pytest.raises(EdgeError, match="is for files of batch 1"):
        EdgeModel(tmp_path / "s.tflite", on_bad_frame="hold")
    state = stream.state
    stream.step(x[:B, 0])
    stream.state = state
    options = {"mode": "sequence", "max_length": T, "batch": B}
    sequence_model = SequenceModel(kgated.to_tflite(model, tmp_path / "w.tflite", **options).path)
    for lengths in ([1, 2], [0, 1, 2], [1, 2, 9], [1.0, 2.0, 3.0]):
        with pytest.raises(FrameError, match="`lengths` must be"):
            sequence_model.run(x[:B], lengths)
    with pytest.raises(DataError, match="takes 3 sequences at once"):
        check(tmp_path / "w.tflite", SequenceData(x, np.full(len(x), T)))
    assert main.main(["live", str(tmp_path / "s.tflite"), "/dev/null"]) == 2
    assert "takes 3 sequences at once" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "`batch` must be an integer of at least 1. Received: 0"),
        ({"batch": 2.0}, "`batch` must be an integer"),
        ({"batch": True}, "`batch` must be an integer"),
        ({"batch": 2, "target": "mcu", "quantize": "int8"}, "one sequence at a time.*Received: 2"),
    ],
)
def test_batches_that_are_refused(options, message, x, tmp_path):
    model = keras.Sequential([keras.Input((None, F)), kgated.GRU(3)])
    with pytest.raises(ValueError, match=message):
        kgated.to_tflite(model, tmp_path / "m.tflite", calibration=x, **options)
    assert not list(tmp_path.iterdir())
