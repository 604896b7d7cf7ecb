"""For microcontrollers: what is refused, the arena, and sources that a compiler takes and runs."""

import shutil
import subprocess

import keras
import numpy as np
import pytest
from benchmarks.micro import litert
from kgated_edge import EdgeModel, open_model
from micro_runtime import check_in_micro

import kgated
from kgated.deploy import Recipe
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.layer_table import LayerTable
from kgated.deploy.tflm import arena_bytes, check_operators
from kgated.deploy.tflm.arena import Block, plan
from kgated.deploy.tflm.kernels import method
from kgated.errors import ConversionError

FEATURES, UNITS = 5, 16


def convert(path, *layers, quantize="int8", **options):
    rng = np.random.default_rng(5)
    model = keras.Sequential([keras.Input((None, FEATURES)), *layers])
    x = rng.normal(size=(8, 20, FEATURES)).astype(np.float32)
    kgated.to_tflite(model, path, quantize=quantize, target="mcu", calibration=x, **options)
    check_in_micro(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small stack in int8 for a microcontroller: the file and its sources."""
    keras.utils.set_random_seed(1)
    folder = tmp_path_factory.mktemp("mcu")
    stack = (
        kgated.GRU(UNITS, return_sequences=True, name="gru"),
        kgated.PeepholeLSTM(8, name="peephole_lstm"),
    )
    convert(folder / "my-model.tflite", *stack, keras.layers.Dense(3, activation="softmax"))
    return folder


# Stands for the runtime: inputs and outputs lie over each other, as in an arena. An output is its
# input plus one, that of the model itself the sum of the frame.
MAIN = """
#include <cstdio>
#include <initializer_list>
#include "my-model.h"

namespace m = kgated_my_model;

struct Resolver {
  int added = 0;
  OPERATORS
};

struct Tensor { struct { void* data; } data; };

struct Interpreter {
  std::int8_t in[4][64], out[4][64];
  Tensor last;
  Tensor* input(int n) { last.data.data = memory[n]; return &last; }
  Tensor* output(int n) { last.data.data = memory[n]; return &last; }
  std::int8_t memory[4][64];
  int Invoke() {
    std::memcpy(in, memory, sizeof in);
    int sum = 0;
    for (int n = 0; n < 5; ++n) sum += in[m::k_in_frame.input][n];
    for (const auto& state : {STATES})
      for (int n = 0; n < 64; ++n)
        out[state.output][n] = static_cast<std::int8_t>(in[state.input][n] + 1);
    for (auto& number : out[m::k_out_output.output]) number = static_cast<std::int8_t>(sum);
    std::memcpy(memory, out, sizeof memory);
    return 0;
  }
};

int main(int, char** arguments) {
  Resolver resolver;
  if (!m::AddOperators(resolver) || resolver.added != m::kOperators) return 1;
  Interpreter interpreter;
  m::State state;
  m::Reset(state);
  const std::int8_t frame[] = {1, 2, 3, 4, 5};
  std::int8_t result[3];
  for (int n = 0; n < 3; ++n)
    if (!m::Run(interpreter, state, frame, result)) return 2;
  if (result[0] != 15 || result[2] != 15) return 3;
  if (state.state_gru_h[15] != m::k_state_gru_h.zero_point + 3) return 4;
  if (state.state_peephole_lstm_c[7] != m::k_state_peephole_lstm_c.zero_point + 3) return 5;
  const float scale = m::k_in_frame.scale;
  if (std::fabs(m::Dequantize(m::Quantize<std::int8_t>(0.5f, m::k_in_frame), m::k_in_frame) - 0.5f)
      > scale) return 6;
  if (m::Quantize<std::int8_t>(1e9f, m::k_in_frame) != 127) return 7;
  if (reinterpret_cast<std::uintptr_t>(m::kModel) % 16 != 0) return 8;
  std::FILE* file = std::fopen(arguments[1], "wb");
  std::fwrite(m::kModel, 1, m::kModelBytes, file);
  return std::fclose(file);
}
"""


@pytest.mark.slow
def test_the_sources_compile_and_run(folder, tmp_path):
    if not (compiler := shutil.which("g++")):
        pytest.skip("there is no g++ here: the generated C++ was NOT compiled")
    names = check_operators(
        flatbuffer.parse((folder / "my-model.tflite").read_bytes()), LayerTable({})
    )
    methods = " ".join(f"int {method(name)}() {{ ++added; return 0; }}" for name in names)
    manifest = EdgeModel(folder / "my-model.tflite").manifest
    states = ", ".join(f"m::k_state_{state.name}" for state in manifest.states)
    main = tmp_path / "main.cc"
    main.write_text(MAIN.replace("OPERATORS", methods).replace("STATES", states))
    program = str(tmp_path / "program")
    warnings = ["-Wall", "-Wextra", "-Wconversion", "-Werror"]
    sources = [str(main), str(folder / "my-model.cc")]
    command = [compiler, "-std=c++11", *warnings, f"-I{folder}", *sources, "-o", program]
    subprocess.run(command, check=True, timeout=120)
    subprocess.run([program, str(tmp_path / "dumped.tflite")], check=True, timeout=20)
    dumped = flatbuffer.parse((tmp_path / "dumped.tflite").read_bytes())
    source = flatbuffer.parse((folder / "my-model.tflite").read_bytes())
    assert [buffer.data is None for buffer in dumped.buffers] == [
        buffer.data is None for buffer in source.buffers[: len(dumped.buffers)]
    ]
    for buffer, original in zip(dumped.buffers, source.buffers, strict=False):
        np.testing.assert_array_equal(buffer.data, original.data)
    assert len(dumped.buffers) == len(source.buffers) - 1  # the manifest stays out of the flash


def test_the_constants_are_those_of_the_manifest(folder):
    header = (folder / "my-model.h").read_text()
    manifest = EdgeModel(folder / "my-model.tflite").manifest
    frame, (h, *_) = manifest.frame, manifest.states
    assert f", -1, {FEATURES}, {frame.scale!r}f, {frame.zero_point}}};" in header
    assert f", {UNITS}, {h.scale!r}f, {h.zero_point}}};" in header
    assert "std::int8_t state_gru_h[16];" in header
    assert manifest.recipe["target"] == "mcu"


def test_blocks_share_memory_where_they_do_not_meet():
    chain = [Block(64, 0, 1), Block(32, 1, 2), Block(64, 2, 3)]
    assert plan(chain) == 96
    assert plan([*chain, Block(16, 0, 3)]) == 112
    assert plan([Block(16, 0, 5), Block(16, 1, 5), Block(16, 2, 5)]) == 48
    assert plan([]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("quantize", ["int8", "int16x8"])
def test_the_runtime_takes_the_arena_and_agrees(folder, tmp_path, quantize):
    """The file in TensorFlow Lite Micro's own interpreter: same integers, arena not exceeded."""
    pytest.importorskip("tflite_micro", reason="tflite-micro is not installed: arena NOT checked")
    path = folder / "my-model.tflite"
    if quantize != "int8":
        path = tmp_path / "m.tflite"
        convert(path, kgated.LSTM(UNITS), keras.layers.Dense(3), quantize=quantize)
    arena = arena_bytes(path.read_bytes())
    check_in_micro(path, arena=arena)
    with pytest.raises(RuntimeError, match="allocate"):
        check_in_micro(path, arena=3 * arena // 4)


def test_the_check_sees_another_model(folder, tmp_path, monkeypatch):
    pytest.importorskip("tflite_micro", reason="tflite-micro is not installed: nothing was run")
    parsed = flatbuffer.parse((folder / "my-model.tflite").read_bytes())
    constants = [t for t in parsed.subgraphs[0].tensors if flatbuffer.is_constant(parsed, t)]
    matrix = next(t for t in constants if flatbuffer.type_name(t) == "int8" and len(t.shape) == 2)
    weights = parsed.buffers[matrix.buffer]
    weights.data = -np.asarray(weights.data).view(np.int8)
    changed = flatbuffer.pack(parsed)
    monkeypatch.setattr("benchmarks.micro.micro", lambda content, arena: litert(changed))
    with pytest.raises(AssertionError, match="steps apart"):
        check_in_micro(folder / "my-model.tflite")


@pytest.mark.parametrize("last", [True, False], ids=["last", "inside"])
def test_int8_computes_by_a_table_what_the_runtime_lacks(last, tmp_path):
    layers = [kgated.LSTM(4), keras.layers.Dense(3, activation="gelu")]
    convert(tmp_path / "m.tflite", *layers, *([] if last else [keras.layers.Dense(2)]))
    assert (tmp_path / "m.tflite").is_file()


@pytest.mark.parametrize("quantize", ["int16x8"])
@pytest.mark.parametrize("last", [True, False], ids=["last", "inside"])
def test_an_operator_that_the_runtime_lacks_is_refused_with_its_layer(last, quantize, tmp_path):
    layers = [kgated.LSTM(4), keras.layers.Dense(3, activation="gelu", name="guilty")]
    after = [] if last else [keras.layers.Dense(2, name="innocent")]
    message = "^layer `guilty` needs the operator GELU, which TensorFlow Lite Micro"
    with pytest.raises(ConversionError, match=message):
        convert(tmp_path / "m.tflite", *layers, *after, quantize=quantize)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [keras.layers.Cropping3D, keras.layers.UpSampling3D])
def test_tensors_of_more_dimensions_than_the_runtime_takes_are_refused(kind, tmp_path):
    reason = "tflite-micro is not installed: the limits were NOT compared with it"
    pytest.importorskip("tflite_micro", reason=reason)
    x = np.random.default_rng(5).normal(size=(4, 6, 4, 4, 2)).astype(np.float32)
    model = keras.Sequential([keras.Input(x.shape[1:]), kind(name="guilty"), keras.layers.Dense(2)])
    options = {"mode": "sequence", "quantize": "int8", "calibration": x}
    path = tmp_path / "m.tflite"
    with pytest.raises(ConversionError, match=r"^layer `guilty` .* dimensions.*at most"):
        kgated.to_tflite(model, path, target="mcu", **options)
    kgated.to_tflite(model, path, **options)
    with pytest.raises(RuntimeError, match="allocate"):
        check_in_micro(path)


def test_the_arena_of_unrolled_steps_has_a_margin(tmp_path):
    reason = "tflite-micro is not installed: the arena was NOT measured"
    runtime = pytest.importorskip("tflite_micro.python.tflite_micro.runtime", reason=reason)
    path, options = tmp_path / "m.tflite", {"mode": "sequence", "lowering": "unrolled"}
    convert(path, kgated.GRU(UNITS), keras.layers.Dense(3), length=12, **options)
    content = path.read_bytes()
    runtime.Interpreter.from_bytes(content, arena_size=int(arena_bytes(content) / 1.04)).invoke()


def test_masks_and_long_results_take_operators_that_the_runtime_has(tmp_path):
    layers = keras.layers.Masking(), kgated.GRU(4, return_sequences=True)
    model = keras.Sequential([keras.Input((25, FEATURES)), *layers])
    x = np.random.default_rng(5).normal(size=(8, 25, FEATURES)).astype(np.float32)
    x[:, 7:11] = 0.0
    path, options = tmp_path / "m.tflite", {"mode": "sequence", "quantize": "int8"}
    kgated.to_tflite(model, path, calibration=x, target="mcu", **options)
    parsed = flatbuffer.parse(path.read_bytes())
    operators = {flatbuffer.operator_name(parsed, o): o for _, o in flatbuffer.operators(parsed)}
    assert {"REDUCE_ALL", "LOGICAL_NOT"} < set(operators)
    assert len(operators["CONCATENATION"].inputs) == 3  # of 10, 10 and 5
    results, expected = open_model(path).run(x[0]), np.asarray(model(x[:1]))[0]
    assert np.abs(results - expected).max() < 0.1
    np.testing.assert_array_equal(results[7:11], np.tile(results[6], (4, 1)))
    check_in_micro(path, x[:1])


def test_repeated_frames_take_operators_that_the_runtime_has(tmp_path):
    path = tmp_path / "m.tflite"
    repeated = [keras.layers.RepeatVector(3), keras.layers.UpSampling1D(2), keras.layers.Dense(2)]
    convert(path, kgated.GRU(4), *repeated, mode="sequence", length=4)
    assert open_model(path).manifest.outputs[0].shape[-2:] == (6, 2)


def test_tokens_are_looked_up_by_operators_that_the_runtime_has(tmp_path):
    tokens = np.random.default_rng(5).integers(0, 9, (8, 20)).astype(np.int32)
    layers = [keras.layers.Embedding(9, 8), kgated.GRU(8), keras.layers.Dense(3)]
    model = keras.Sequential([keras.Input((None,), dtype="int32"), *layers])
    options = {"target": "mcu", "calibration": tokens}
    kgated.to_tflite(model, tmp_path / "m.tflite", quantize="int8", **options)
    assert "const std::int32_t* in_frame" in (tmp_path / "m.h").read_text()
    check_in_micro(tmp_path / "m.tflite")
    with pytest.raises(ConversionError, match="GATHER in int16"):
        kgated.to_tflite(model, tmp_path / "n.tflite", quantize="int16x8", **options)


@pytest.mark.parametrize(
    "options", [{}, {"quantize": "dynamic"}, {"quantize": "int8", "skip": ("a",)}]
)
def test_floats_are_refused(options):
    with pytest.raises(ValueError, match=r"`target='mcu'`.*`quantize='int8'`"):
        Recipe(target="mcu", **options)


def test_somebody_else_s_header_is_not_written_over(tmp_path):
    (tmp_path / "m.h").write_text("int mine;")
    with pytest.raises(FileExistsError, match=r"m\.h"):
        convert(tmp_path / "m.tflite", kgated.LSTM(4))
    assert [file.name for file in tmp_path.iterdir()] == ["m.h"]


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("FULLY_CONNECTED", "AddFullyConnected"),
        ("CONV_2D", "AddConv2D"),
        ("SELECT_V2", "AddSelectV2"),
        ("PADV2", "AddPadV2"),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", "AddUnidirectionalSequenceLSTM"),
    ],
)
def test_the_resolver_s_methods(operator, expected):
    assert method(operator) == expected
