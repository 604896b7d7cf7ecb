"""The native engine: by the contract of the interpreter, and refused where it cannot be it."""

import keras
import numpy as np
import pytest
from c_programs import has
from kgated_edge import EdgeError, EdgeModel, FrameError, SequenceModel, open_model
from kgated_edge.cli.main import main
from kgated_edge.native import library
from kgated_edge.native.compiler import build

import kgated
from kgated.errors import ConversionError

FEATURES, STEPS = 5, 12
L = keras.layers
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not has("gcc"), reason="no gcc: the native engine was NOT run"),
]


def model_of(*layers):
    keras.utils.set_random_seed(3)
    return keras.Sequential([keras.Input((None, FEATURES)), *layers])


def running_sum(x):
    """An activation whose operator has no C."""
    return keras.ops.cumsum(x, -1)


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(5).normal(size=(8, STEPS, FEATURES)).astype(np.float32)


@pytest.fixture(scope="module")
def stream(tmp_path_factory, frames):
    """A stream of two cells, with its library, and the Keras model."""
    path = tmp_path_factory.mktemp("native") / "my model.tflite"
    layers = [kgated.PeepholeLSTM(9, return_sequences=True), kgated.GRU(4, return_sequences=True)]
    model = model_of(*layers)
    kgated.to_tflite(model, path, mode="stream", target="c", calibration=frames)
    assert main(["build", str(path.with_suffix(".c"))]) == 0
    return path, model


def test_a_stream_equals_keras_step_by_step(stream, frames):
    path, model = stream
    native, litert = EdgeModel(path, engine="native"), EdgeModel(path)
    results = native.run(frames[0])
    np.testing.assert_allclose(results, model.predict(frames[:1], verbose=0)[0], atol=1e-5)
    litert.run(frames[0])
    for name, state in litert.state.items():
        np.testing.assert_allclose(native.state[name], state, atol=1e-5)
    half = native.state
    after = native.run(frames[1])
    native.reset()
    native.state = half
    np.testing.assert_array_equal(native.run(frames[1]), after)
    copy = native.clone()
    np.testing.assert_array_equal(copy.run(frames[0]), results)


def test_a_bad_frame_is_refused_and_changes_nothing(stream, frames):
    native = EdgeModel(stream[0], engine="native")
    native.run(frames[0])
    before, bad = native.state, frames[0, 0].copy()
    bad[2] = np.nan
    for frame in (bad, bad[:3], bad.astype(np.float64)):
        with pytest.raises(FrameError):
            native.step(frame)
    for name, state in native.state.items():
        np.testing.assert_array_equal(state, before[name])
    with pytest.raises(FrameError, match=r"finite, got nan at \(2,\)"):
        native.step(bad)


def test_what_does_not_fit_is_refused_and_never_replaced(stream, tmp_path, monkeypatch):
    path, _ = stream
    copy = tmp_path / "copy.tflite"
    copy.write_bytes(path.read_bytes())
    with pytest.raises(EdgeError, match="no native library"):
        EdgeModel(copy, engine="native")
    with pytest.raises(EdgeError, match="`engine` must be"):
        EdgeModel(path, engine="fast")
    with pytest.raises(EdgeError, match="one thread"):
        EdgeModel(path, 2, engine="native")
    with pytest.raises(EdgeError, match="no C compiler"):
        build(path.with_suffix(".c"), "no-such-compiler")
    with pytest.raises(EdgeError, match="no C sources"):
        build(path)
    library.host.cache_clear()
    monkeypatch.setattr(library.platform, "machine", lambda: "another")
    with pytest.raises(EdgeError, match="another CPU"):
        EdgeModel(path, engine="native")
    library.host.cache_clear()


def test_a_library_of_another_file_or_with_wrong_results_is_refused(tmp_path, frames):
    second, digest = tmp_path / "m.tflite", "0" * 64
    options = {"mode": "stream", "target": "c", "calibration": frames}
    kgated.to_tflite(model_of(L.Dense(2)), second, **options)
    built = build(second.with_suffix(".c"))
    with pytest.raises(EdgeError, match="built for the model file with digest"):
        library.Library.open(built, digest)
    source = second.with_suffix(".c")
    text = source.read_text()
    assert "kg_golden_out_output[] = {\n    " in text
    wrong = text.replace(
        "kg_golden_out_output[] = {\n    ", "kg_golden_out_output[] = {\n    9.0f + "
    )
    source.write_text(wrong)
    with pytest.raises(EdgeError, match="golden frames are wrong"):
        build(source)
    assert built.exists()


@pytest.mark.parametrize(
    ("cell", "options"),
    [
        (kgated.PeepholeLSTM(9, return_sequences=True), {"length": STEPS}),
        (kgated.GRU(9), {"max_length": STEPS, "batch": 3}),
        (L.LSTM(9), {"max_length": STEPS, "quantize": "dynamic"}),
        (kgated.GRU(20), {"max_length": STEPS, "batch": 3, "quantize": "dynamic"}),
    ],
    ids=["each frame", "padded batch", "int8 weights", "int8 weights of a padded batch"],
)
def test_a_whole_sequence_equals_litert(cell, options, tmp_path, frames):
    path = tmp_path / "m.tflite"
    options = {"mode": "sequence", "target": "c", "calibration": frames, **options}
    kgated.to_tflite(model_of(cell, L.Dense(3)), path, **options)
    build(path.with_suffix(".c"))
    native, litert = SequenceModel(path, engine="native"), open_model(path)
    batch = options.get("batch", 1)
    x = frames[:batch] if batch > 1 else frames[0]
    calls = [(x,)]
    if "max_length" in options:
        calls += [(x, [STEPS, 4, 1])] if batch > 1 else [(x[:7],), (x[:1],)]
    allowed = 0.02 if "quantize" in options else 1e-5
    for call in calls:
        np.testing.assert_allclose(native.run(*call), litert.run(*call), atol=allowed)
    with pytest.raises(FrameError):
        native.run(x[:, :0] if batch > 1 else x[:0])


def test_a_block_of_frames_equals_litert(tmp_path, frames):
    path = tmp_path / "m.tflite"
    layers = [kgated.PeepholeLSTM(9, return_sequences=True), L.Dense(3)]
    options = {"mode": "stream", "target": "c", "calibration": frames, "block": 4}
    kgated.to_tflite(model_of(*layers), path, **options)
    build(path.with_suffix(".c"))
    results = EdgeModel(path, engine="native").run(frames[0])
    np.testing.assert_allclose(results, EdgeModel(path).run(frames[0]), atol=1e-5)


def test_a_model_that_c_cannot_express_is_refused_by_its_layer(tmp_path, frames):
    options = {"target": "c", "calibration": frames}
    path = tmp_path / "m.tflite"
    odd = model_of(L.Dense(3, running_sum, name="odd"))
    with pytest.raises(ConversionError, match=r"layer `odd` .* CUMSUM.*LiteRT"):
        kgated.to_tflite(odd, path, mode="stream", **options)
    with pytest.raises(ValueError, match="float32, int8 weights"):
        kgated.to_tflite(model_of(L.Dense(2)), path, quantize="float16", **options)
    with pytest.raises(ValueError, match="scales of their own"):
        kgated.to_tflite(model_of(L.Dense(2)), path, quantize="int8", mode="sequence", **options)
    (tmp_path / "m.c").write_text("int main;")
    with pytest.raises(FileExistsError, match="no file of kgated"):
        kgated.to_tflite(model_of(L.Dense(2)), path, mode="stream", **options)
    assert {file.name for file in tmp_path.iterdir()} == {"m.c"}
