"""Generated C99 sources: compiled by gcc and clang, compared with Keras and with LiteRT."""

import c_programs
import keras
import numpy as np
import pytest
from kgated_edge import EdgeModel

import kgated

FEATURES, STEPS = 5, 12
L = keras.layers
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not c_programs.has("gcc", "clang"), reason="no gcc or clang: C NOT compiled"
    ),
]
MODELS = {
    "peephole": lambda: [kgated.PeepholeLSTM(20, return_sequences=True), L.Dense(3, "softmax")],
    "lstm": lambda: [L.LSTM(8, return_sequences=True), L.LayerNormalization(), L.Dense(3)],
    "gru": lambda: [kgated.GRU(8, return_sequences=True), L.Dense(70, "gelu"), L.Dense(3)],
    "reset after": lambda: [L.GRU(7, return_sequences=True), L.PReLU(shared_axes=[1])],
    "convolution": lambda: [
        L.Conv1D(6, 3, padding="causal", dilation_rate=2, activation="relu"),
        L.BatchNormalization(),
        L.ZeroPadding1D((2, 0)),
        L.DepthwiseConv1D(3),
        L.AveragePooling1D(2),
        kgated.GRU(8, return_sequences=True),
        L.GlobalAveragePooling1D(),
        L.Dense(3, "elu"),
    ],
    "pooling": lambda: [L.Conv1D(4, 2, padding="causal"), L.MaxPooling1D(3), kgated.MinGRU(4)],
}


def convert(folder, layers, quantize, **options):
    """A model with these layers, and its file with C sources."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((None, FEATURES)), *layers])
    rng = np.random.default_rng(7)
    x = rng.normal(size=(8, STEPS, FEATURES)).astype(np.float32)
    options = {"quantize": quantize, "calibration": x, "target": "c", **options}
    kgated.to_tflite(model, folder / "m.tflite", mode="stream", **options)
    return model, EdgeModel(folder / "m.tflite")


def run(folder, edge, frames, *flags, **options):
    """The results of the C sources."""
    manifest = edge.manifest
    size = manifest.frames_per_step * manifest.frame.size
    main = c_programs.stream_main(size, manifest.output.size)
    program = c_programs.compile_program(folder, "m", main, *flags, **options)
    return c_programs.run_stream(program, frames, manifest.output.size)


@pytest.mark.parametrize("name", MODELS)
def test_float_agrees_with_litert(name, tmp_path, rng):
    model, edge = convert(tmp_path, MODELS[name](), "none")
    x = rng.normal(size=(STEPS, FEATURES)).astype(np.float32)
    expected = edge.run(x)
    for compiler, flags in (("gcc", ["-O3", "-march=native"]), ("clang", c_programs.SANITIZED)):
        results = run(tmp_path, edge, x, *flags, compiler=compiler)
        np.testing.assert_allclose(results, expected, rtol=1e-5, atol=1e-5)
    shape = model.compute_output_shape((1, STEPS, FEATURES))
    if len(shape) == 3 and shape[1] == STEPS:
        keras_results = model.predict(x[None], verbose=0)[0]
        np.testing.assert_allclose(results, keras_results, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["peephole", "gru", "convolution"])
def test_int8_weights_are_as_exact_as_in_litert(name, tmp_path, rng):
    x = rng.normal(size=(STEPS, FEATURES)).astype(np.float32)
    exact = convert(tmp_path, MODELS[name](), "none")[1].run(x)
    _, edge = convert(tmp_path, MODELS[name](), "dynamic")
    allowed = 1.2 * np.abs(edge.run(x) - exact).max() + 1e-4
    for flags in (["-O2"], ["-O3", "-march=native"], ["-O2", "-mavx2"], c_programs.SANITIZED):
        results = run(tmp_path, edge, x, *flags)
        assert np.abs(results - exact).max() <= allowed
