"""Blocks of frames: a step of k frames gives what Keras gives for each of them."""

import io
import json

import keras
import numpy as np
import pytest
from kgated_edge import EdgeModel, FrameError, SessionPool, check, selftest
from kgated_edge.cli.main import main
from streams import randomize
from typer.testing import CliRunner

import kgated
from kgated_cli.app import app

L = keras.layers
T, F = 21, 5
X_SHAPE = (3, T, F)
LIMITS = {"none": 1e-5, "float16": 2e-3, "dynamic": 0.1, "dynamic4": 0.15, "int8": 0.1}


def recurrent(each=True):
    stack = [kgated.PeepholeLSTM(6, return_sequences=True), kgated.GRU(4, return_sequences=each)]
    return keras.Sequential([keras.Input((None, F)), *stack, L.Dense(3)])


def strided():
    stack = [
        L.Conv1D(6, 3, strides=2, padding="causal"),
        L.LSTM(6, return_sequences=True),
        L.LayerNormalization(),
    ]
    return keras.Sequential([keras.Input((None, F)), *stack])


def masked():
    stack = [L.Masking(), kgated.LSTM(4, return_sequences=True), L.SimpleRNN(3)]
    return keras.Sequential([keras.Input((None, F)), *stack])


def convert(model, path, **options):
    return kgated.to_tflite(model, path, mode="stream", **options)


@pytest.mark.parametrize(
    ("build", "block", "options"),
    [
        (recurrent, 4, {"quantize": "none"}),
        (recurrent, 8, {"quantize": "dynamic"}),
        (recurrent, 4, {"quantize": "dynamic4"}),
        (recurrent, 4, {"quantize": "int8"}),
        (recurrent, 4, {"quantize": "float16", "batch": 3}),
        (strided, 4, {"quantize": "none"}),
        (strided, 8, {"quantize": "dynamic", "sessions": 8}),
    ],
)
def test_a_block_gives_the_results_of_its_frames(build, block, options, x, rng, tmp_path):
    model = randomize(build(), rng)
    repeated = range(1, 9) if options["quantize"] == "int8" else ()  # states as in a long stream
    data = np.concatenate([x, *(np.roll(x, n, axis=1) for n in repeated)], axis=1)
    conversion = convert(model, tmp_path / "m.tflite", block=block, calibration=data, **options)
    edge, limit = EdgeModel(conversion.path), LIMITS[options["quantize"]]
    stride = edge.manifest.frames_per_result
    assert (edge.manifest.frames_per_step, stride) == (block, 2 if build is strided else 1)
    expected = np.asarray(model(x, training=False))[:, : T // stride]
    results = edge.run(x) if edge.manifest.batch > 1 else _each(edge, x)
    assert results.shape == expected.shape
    assert np.abs(results - expected).max() <= limit
    assert np.abs(results - expected[::-1]).max() > limit
    assert selftest(conversion.path).passed
    if edge.manifest.sessions:
        pool = SessionPool(conversion.path)
        sessions = [pool.open() for _ in range(8)]
        rows = pool.step(sessions, np.resize(x[:, :block], (8, block, F)))
        np.testing.assert_allclose(rows[4], results[1, : block // stride], atol=1e-6)


def _each(edge, x):
    rows = []
    for frames in x:
        edge.reset()
        rows.append(edge.run(frames))
    return np.stack(rows)


def test_a_sequence_that_goes_on_after_an_incomplete_block(x, rng, tmp_path):
    conversion = convert(randomize(recurrent(), rng), tmp_path / "m.tflite", block=8)
    edge = EdgeModel(conversion.path)
    results = edge.run(x[0])
    edge.reset()
    first = edge.run(x[0, :13])  # a block, and five frames in a filled one
    rest = edge.run(x[0, 8:])  # again from the ninth
    assert np.array_equal(first, results[:13])
    assert np.array_equal(rest, results[8:])


@pytest.mark.parametrize("build", [recurrent, masked])
def test_the_last_result_of_a_block(build, x, rng, tmp_path):
    model = randomize(build(), rng)
    conversion = convert(model, tmp_path / "m.tflite", block=4, results="last")
    edge = EdgeModel(conversion.path)
    assert edge.manifest.results_per_step == 1
    frames = np.concatenate([x[0, :8], 0 * x[0, :2], x[0, 8:10]])  # two are masked
    results = edge.run(frames)
    assert results.shape == (3, 3)
    prefixes = [np.asarray(model(frames[None, :end], training=False)) for end in (4, 8, 12)]
    expected = [y[0, -1] if y.ndim == 3 else y[0] for y in prefixes]
    np.testing.assert_allclose(results, expected, atol=1e-5)


def test_a_long_block_is_a_loop(rng, tmp_path):
    x = rng.normal(size=(1, 640, 1)).astype(np.float32)
    stack = [kgated.LSTM(8, return_sequences=True), L.Dense(1)]
    model = randomize(keras.Sequential([keras.Input((None, 1)), *stack]), rng)
    conversion = convert(model, tmp_path / "audio.tflite", block=320, calibration=x)
    expected = np.asarray(model(x, training=False))[0]
    np.testing.assert_allclose(EdgeModel(conversion.path).run(x[0]), expected, atol=1e-5)
    assert conversion.file_bytes < 100_000


@pytest.mark.parametrize(
    ("build", "options", "reason"),
    [
        (recurrent, {"block": 0}, "`block` must be an integer of at least 1"),
        (recurrent, {"block": 2.0}, "`block` must be an integer of at least 1"),
        (strided, {"block": 3}, "give a multiple of 2. Received: 3"),
        (recurrent, {"results": "last"}, "give a `block`, or leave it out"),
        (masked, {"block": 4, "results": "each"}, "take `results='last'`"),
        (recurrent, {"block": 400, "quantize": "int8"}, "`block` must be at most 64"),
    ],
)
def test_blocks_that_are_refused(build, options, reason, tmp_path):
    with pytest.raises(ValueError, match=reason):
        convert(build(), tmp_path / "no.tflite", **options)
    assert not list(tmp_path.iterdir())


def test_blocks_are_for_streams(tmp_path):
    with pytest.raises(ValueError, match="`block` is for `mode='stream'`"):
        kgated.to_tflite(recurrent(), tmp_path / "no", mode="sequence", length=8, block=4)


def test_a_wrong_number_of_frames(x, tmp_path):
    edge = EdgeModel(convert(recurrent(), tmp_path / "m.tflite", block=4).path)
    with pytest.raises(FrameError, match=r"\(4, 5\)"):
        edge.step(x[0, :3])


def test_commands_take_blocks(x, tmp_path, monkeypatch, capsys):
    """`convert --block`, `check` on labels per frame, `live` with a part of a block at the end."""
    model = recurrent()
    model.save(tmp_path / "m.keras")
    path = str(tmp_path / "m.tflite")
    command = ["convert", str(tmp_path / "m.keras"), path, "--mode", "stream", "--block", "4"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    expected = np.asarray(model(x, training=False))
    labels = expected.argmax(-1)
    assert check(path, {"x": x, "y": labels}).accuracy == 1.0
    lines = "\n".join(",".join(map(str, frame)) for frame in x[0])
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    assert main(["live", path, "--format", "csv"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["step"] for row in rows] == list(range(1, T + 1))
    outputs = [row["outputs"] for row in rows]
    values = np.array([next(iter(o.values())) if isinstance(o, dict) else o for o in outputs])
    np.testing.assert_allclose(values, expected[0], atol=1e-4)
