"""Generated C99 sources: compiled by gcc and clang, compared with Keras and with LiteRT."""

import re
import subprocess

import c_programs
import keras
import numpy as np
import pytest
from kgated_edge import EdgeModel

import kgated
from kgated.deploy.c.render import SIGMOID_ERROR, TANH_ERROR
from kgated.errors import ConversionError

FEATURES, STEPS = 5, 12
L = keras.layers
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (c_programs.has("gcc") and c_programs.has_sanitizers("clang")),
        reason="no gcc, or no clang with libclang-rt-dev: C was NOT compiled",
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
        L.Conv1D(6, 3, padding="causal", groups=2),
        L.ZeroPadding1D((2, 0)),
        L.DepthwiseConv1D(3),
        L.AveragePooling1D(2),
        kgated.GRU(8, return_sequences=True),
        L.GlobalAveragePooling1D(),
        L.Dense(3, "elu"),
    ],
    "pooling": lambda: [L.Conv1D(4, 2, padding="causal"), L.MaxPooling1D(3), kgated.MinGRU(4)],
    "rows": lambda: [
        L.UnitNormalization(),
        kgated.GRU(3, return_sequences=True),
        L.Dense(4, "log_softmax"),
    ],
    "limited pooling": lambda: [L.AveragePooling1D(2), L.ReLU(), L.MaxPooling1D(2), L.ReLU(0.5)],
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


def test_weights_of_4_bits_take_half_of_the_flash_and_give_the_same_sums(tmp_path, rng):
    x = rng.normal(size=(STEPS, FEATURES)).astype(np.float32)
    _, edge = convert(tmp_path, MODELS["peephole"](), "dynamic4")
    text = (tmp_path / "m.c").read_text()
    size = sum(map(int, re.findall(r"static const uint8_t kg_w\d+\[(\d+)\]", text)))
    columns = -(-(FEATURES + 20) // 8) * 8
    assert size == 5 * 16 * columns // 2 + 16 * 24 // 2
    assert "int8_t kg_w" not in text.replace("uint8_t kg_w", "")
    # Integers are summed exactly: kernels differ by the rounding of floats alone.
    results = [
        run(tmp_path, edge, x, *flags)
        for flags in (["-O2"], ["-O3", "-march=native"], ["-O2", "-mavx2"], c_programs.SANITIZED)
    ]
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], atol=2e-4)
    np.testing.assert_allclose(results[0], edge.run(x), atol=0.02)


@pytest.mark.parametrize("name", ["peephole", "gru", "convolution"])
def test_int8_weights_are_as_exact_as_in_litert(name, tmp_path, rng):
    x = rng.normal(size=(STEPS, FEATURES)).astype(np.float32)
    exact = convert(tmp_path, MODELS[name](), "none")[1].run(x)
    _, edge = convert(tmp_path, MODELS[name](), "dynamic")
    allowed = 1.2 * np.abs(edge.run(x) - exact).max() + 1e-4
    for flags in (["-O2"], ["-O3", "-march=native"], ["-O2", "-mavx2"], c_programs.SANITIZED):
        results = run(tmp_path, edge, x, *flags)
        assert np.abs(results - exact).max() <= allowed


INTEGERS = {
    "peephole": MODELS["peephole"],
    "lstm": lambda: [L.LSTM(8, return_sequences=True), L.Dense(3)],
    "gru": lambda: [kgated.GRU(9, return_sequences=True), L.Dense(8, "relu"), L.Dense(3)],
    "convolution": lambda: [
        L.Conv1D(6, 3, padding="causal", dilation_rate=2, activation="relu"),
        L.Conv1D(6, 2, padding="causal", strides=2),
        L.Conv1D(6, 3, padding="causal", groups=3),
        L.GRU(8, return_sequences=True),
        L.Dense(3),
    ],
    "pooling": lambda: [
        L.Conv1D(6, 3, padding="causal"),
        L.AveragePooling1D(2),
        L.MaxPooling1D(2),
        L.Dense(4, "gelu"),
    ],
    "depthwise": lambda: [
        L.ZeroPadding1D((4, 0)),
        L.DepthwiseConv1D(3, dilation_rate=2, depth_multiplier=2, activation="relu6"),
        L.PReLU(shared_axes=[1]),
        L.Dense(4, "elu"),
        L.Dense(3, "softplus"),
    ],
    "normalization": lambda: [
        L.Dense(8),
        L.LayerNormalization(),
        L.Dense(6, "silu"),
        L.RMSNormalization(),
        kgated.MinGRU(5, return_sequences=True),
    ],
    "extremes": lambda: [kgated.GRU(7, return_sequences=True), L.GlobalMaxPooling1D(), L.Dense(3)],
}


def check_equal_integers(folder, edge, rng):
    """The C sources give LiteRT's integers over a long stream, by each kind of kernel."""
    x = rng.normal(0.0, 1.5, size=(1000, FEATURES)).astype(np.float32)
    expected = edge.run(x)
    assert len(np.unique(expected)) > 10
    for flags in (["-O3", "-march=native"], ["-O2", "-mavx2"], c_programs.SANITIZED):
        np.testing.assert_array_equal(run(folder, edge, x, *flags), expected)


def test_an_operator_without_integers_is_refused_by_its_layer(tmp_path):
    layers = [L.Dense(6), L.Dense(3, "log_softmax", name="last")]
    with pytest.raises(ConversionError, match=r"layer `last` .* LOG_SOFTMAX.*LiteRT"):
        convert(tmp_path, layers, "int8")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", INTEGERS)
def test_int8_gives_the_integers_of_litert(name, tmp_path, rng):
    _, edge = convert(tmp_path, INTEGERS[name](), "int8")
    check_equal_integers(tmp_path, edge, rng)


def test_integers_of_training_are_the_same(tmp_path, rng):
    keras.utils.set_random_seed(4)
    model = keras.Sequential([keras.Input((None, FEATURES)), *INTEGERS["peephole"]()])
    x = rng.normal(size=(16, STEPS, FEATURES)).astype(np.float32)
    model = kgated.quantize_aware(model)
    model.compile("adam", "mse", run_eagerly=True)  # for one batch it takes less time
    model.fit(x[:, :4], np.zeros((16, 4, 3), np.float32), verbose=0)
    kgated.to_tflite(model, tmp_path / "m.tflite", quantize="int8", target="c", mode="stream")
    check_equal_integers(tmp_path, EdgeModel(tmp_path / "m.tflite"), rng)


BAD_INPUT = """
#include <math.h>
#include <string.h>
#include "NAME.h"
static NAME_state zeroed, started;
int main(void) {
  float frame[5] = {0.5f, -1.0f, 2.0f, 0.0f, 1.0f}, bad[5], a[3], b[3];
  memcpy(bad, frame, sizeof bad);
  NAME_reset(&started);
  if (NAME_step(&zeroed, frame, a) != M_OK || NAME_step(&started, frame, b) != M_OK) return 1;
  if (memcmp(a, b, sizeof a) != 0) return 2;
  bad[3] = NAN;
  if (NAME_step(&zeroed, bad, a) != M_NOT_FINITE) return 3;
  bad[3] = -INFINITY;
  if (NAME_step(&zeroed, bad, a) != M_NOT_FINITE || memcmp(a, b, sizeof a) != 0) return 4;
  if (NAME_step(&zeroed, NULL, a) != M_NULL_POINTER) return 5;
  if (NAME_step(NULL, frame, a) != M_NULL_POINTER) return 6;
  if (NAME_selftest(NULL) != M_NULL_POINTER) return 8;
  if (NAME_step(&zeroed, frame, a) != M_OK || NAME_step(&started, frame, b) != M_OK) return 7;
  return memcmp(a, b, sizeof a) != 0 || memcmp(&zeroed, &started, sizeof zeroed) != 0;
}
"""


@pytest.mark.parametrize("quantize", ["none", "dynamic", "int8"])
def test_bad_input_returns_an_error_and_changes_nothing(quantize, tmp_path):
    convert(tmp_path, INTEGERS["lstm"](), quantize)
    program = c_programs.compile_program(tmp_path, "m", BAD_INPUT, *c_programs.SANITIZED)
    assert subprocess.run([program], timeout=60).returncode == 0


CURVES = """
#include "NAME.c"
#include <stdio.h>
int main(void) {
  float x;
  while (fread(&x, sizeof x, 1, stdin) == 1) {
    const float y[2] = {kg_tanh(x), kg_sigmoid(x)};
    fwrite(y, sizeof y, 1, stdout);
  }
  return 0;
}
"""


def test_the_error_of_the_functions_is_as_stated(tmp_path):
    convert(tmp_path, INTEGERS["lstm"](), "none")
    (tmp_path / "main.c").write_text(CURVES.replace("NAME", "m"))
    command = ["gcc", "-std=c99", "-O2", "main.c", "-o", "curves", "-lm"]
    subprocess.run(command, check=True, cwd=tmp_path, timeout=300)
    x = np.concatenate([np.linspace(-20, 20, 200_001), [0.0, 1e-30, 3e38, -3e38]])
    x = x.astype(np.float32)
    y = c_programs.run_stream(tmp_path / "curves", x, 2).astype(np.float64)
    exact = x.astype(np.float64)
    worst = np.abs(y[:, 0] - np.tanh(exact)).max()
    assert 1e-8 < worst <= TANH_ERROR
    with np.errstate(over="ignore"):
        logistic = 1.0 / (1.0 + np.exp(-exact))
    assert np.abs(y[:, 1] - logistic).max() <= SIGMOID_ERROR
    header = (tmp_path / "m.h").read_text()
    assert f"{TANH_ERROR}" in header
    assert f"{SIGMOID_ERROR} off" in header


def test_the_stated_size_is_that_of_the_struct(tmp_path):
    convert(tmp_path, INTEGERS["peephole"](), "dynamic")
    stated = re.search(r"RAM: sizeof\(m_state\), (\d+) bytes", (tmp_path / "m.h").read_text())
    main = '#include "NAME.h"\n#include <stdio.h>\n'
    main += 'int main(void) { printf("%zu", sizeof(NAME_state)); return 0; }'
    program = c_programs.compile_program(tmp_path, "m", main)
    size = subprocess.run([program], capture_output=True, timeout=60).stdout
    assert int(size) == int(stated[1])


def test_a_state_that_is_not_finite_is_found(tmp_path):
    """In float and int8: 1 before, 0 after NaN was written into the float state."""
    for quantize, after in (("none", 0), ("int8", 1)):
        convert(tmp_path, [kgated.MinGRU(4)], quantize)
        main = """#include <stdio.h>
#include <string.h>
#include "m.h"
int main(void) {
  static m_state state;
  m_reset(&state);
  int before = m_is_finite(&state);
  memset(&state, 0x7f, 4);
  memset((char *)&state + 2, 0xc0, 1);
  printf("%d %d\\n", before, m_is_finite(&state));
  return 0;
}
"""
        program = c_programs.compile_program(tmp_path, "m", main)
        done = subprocess.run([program], capture_output=True, check=True, text=True)
        assert done.stdout == f"1 {after}\n"
