"""The C++ example of docs/microcontrollers.md compiles and runs with the generated sources."""

import re
import shutil
import subprocess

import keras
import numpy as np
import pytest
from documents import blocks, page
from micro_runtime import check_in_micro

import kgated

# Stands for TensorFlow Lite Micro: the names that the example and the header use. The model's
# outputs are 1 in every number.
RUNTIME = """
#pragma once
#include <cstdint>
#include <cstring>

enum TfLiteStatus { kTfLiteOk, kTfLiteError };
struct TfLiteTensor { struct { void* data; } data; };

namespace tflite {
struct Model {};
inline const Model* GetModel(const void*) { static Model model; return &model; }

template <unsigned Count>
struct MicroMutableOpResolver {
  OPERATORS
};

class MicroInterpreter {
 public:
  template <class Resolver>
  MicroInterpreter(const Model*, const Resolver&, std::uint8_t*, std::size_t) {}
  TfLiteStatus AllocateTensors() { return kTfLiteOk; }
  TfLiteTensor* input(std::size_t) { tensor_.data.data = memory_; return &tensor_; }
  TfLiteTensor* output(std::size_t) { tensor_.data.data = memory_; return &tensor_; }
  TfLiteStatus Invoke() { std::memset(memory_, 1, sizeof memory_); return kTfLiteOk; }

 private:
  std::int8_t memory_[4096];
  TfLiteTensor tensor_;
};
}  // namespace tflite
"""

# What the example leaves to its reader: 3 frames, and a look at each result.
READER = """
static int frames = 0, results = 0;

bool read_frame(float (&values)[kFeatures]) {
  for (float& value : values) value = 0.5f;
  return ++frames <= 3;
}

void act_on(const float (&values)[kClasses]) {
  const float expected = speaker::Dequantize<std::int8_t>(1, speaker::k_out_output);
  if (values[0] == expected && values[kClasses - 1] == expected) ++results;
}

int main() { return listen() && results == 3 ? 0 : 1; }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """speaker.tflite, speaker.h and speaker.cc, of a model as the guide has it."""
    folder = tmp_path_factory.mktemp("firmware")
    layers = [kgated.LSTM(8), keras.layers.Dense(9, activation="softmax")]
    model = keras.Sequential([keras.Input((None, 12)), *layers])
    x = np.random.default_rng(0).normal(size=(8, 10, 12)).astype(np.float32)
    options = {"quantize": "int8", "target": "mcu"}
    kgated.to_tflite(model, folder / "speaker.tflite", calibration=x, **options)
    check_in_micro(folder / "speaker.tflite")
    return folder


def compile_and_run(code, folder, work):
    if not (compiler := shutil.which("g++")):
        pytest.skip("there is no g++ here: the C++ example of the guide was NOT compiled")
    methods = re.findall(r"resolver\.(Add\w+)\(\)", (folder / "speaker.h").read_text())
    micro = work / "tensorflow" / "lite" / "micro"
    micro.mkdir(parents=True)
    operators = "\n".join(f"  TfLiteStatus {name}() {{ return kTfLiteOk; }}" for name in methods)
    (work / "runtime.h").write_text(RUNTIME.replace("OPERATORS", operators))
    for name in ("micro_interpreter.h", "micro_mutable_op_resolver.h"):
        (micro / name).write_text('#include "runtime.h"\n')
    (work / "main.cc").write_text(code + READER)
    warnings = ["-Wall", "-Wextra", "-Wconversion", "-Werror"]
    folders = [f"-I{folder}", f"-I{work}"]
    sources = [str(work / "main.cc"), str(folder / "speaker.cc")]
    command = [compiler, "-std=c++17", *warnings, *folders, *sources, "-o", str(work / "program")]
    built = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if built.returncode:
        return built.stderr
    subprocess.run([str(work / "program")], check=True, timeout=20)
    return ""


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="one backend is enough")
def test_the_example_compiles_and_runs(folder, tmp_path):
    (example,) = blocks(page("docs/microcontrollers.md"), "cpp")
    assert compile_and_run(example, folder, tmp_path) == ""


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="one backend is enough")
def test_quantize_without_its_type_does_not_compile(folder, tmp_path):
    (example,) = blocks(page("docs/microcontrollers.md"), "cpp")
    wrong = example.replace("Quantize<std::int8_t>", "Quantize")
    assert wrong != example
    assert "Quantize" in compile_and_run(wrong, folder, tmp_path)
