"""The generated `SelfTest` accepts the golden results and refuses different ones."""

import shutil
import subprocess

import keras
import numpy as np
import pytest
from kgated_edge import open_model
from micro_runtime import check_in_micro

import kgated

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("g++"), reason="no g++: generated C++ was NOT compiled"),
]

# A stub of the runtime: call n writes row n of a table of outputs.
MAIN = """
#include "m.h"
#include <cstdlib>
struct Cell { struct { void* data; } data; };
struct Stub {
  std::int16_t memory[8][512];
  Cell cell;
  int calls = 0, shift = 0;
  Cell* input(int) { cell.data.data = memory[7]; return &cell; }
  Cell* output(int n) { cell.data.data = memory[n]; return &cell; }
  int Invoke() {
    const int rows[][SIZE] = {ROWS};
    std::int8_t* out = static_cast<std::int8_t*>(output(kgated_m::k_out_output.output)->data.data);
    for (int n = 0; n < SIZE; ++n) out[n] = static_cast<std::int8_t>(rows[calls][n] + shift);
    ++calls;
    return 0;
  }
};
int main(int, char** arguments) {
  Stub stub;
  stub.shift = std::atoi(arguments[1]);
  return kgated_m::SelfTest(stub) ? 0 : 1;
}
"""


def program(folder, manifest, options=()):
    """The self-test of `m.h` compiled with a stub that gives the manifest's golden results."""
    output = manifest.output
    golden = np.rint(manifest.golden.outputs[output.name] / output.scale + output.zero_point)
    rows = golden.astype(int).reshape(-1, output.size)
    size = output.size
    if manifest.mode == "stream":
        steps = len(manifest.golden.frames[manifest.frame.name])
        rows = np.concatenate([np.zeros((steps - len(rows), size), int), rows])
    else:
        rows = rows.reshape(1, -1)
        size = manifest.answers[0].size
        rows = np.pad(rows, ((0, 0), (size - rows.size, 0)))
    text = ", ".join("{" + ", ".join(map(str, row)) + "}" for row in rows)
    main = folder / "main.cc"
    main.write_text(MAIN.replace("ROWS", text).replace("SIZE", str(size)))
    flags = ["-std=c++11", "-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{folder}"]
    command = ["g++", *flags, str(main), str(folder / "m.cc"), "-o", str(folder / "program")]
    subprocess.run(command, check=True, timeout=120)
    return str(folder / "program")


@pytest.mark.parametrize(
    ("layers", "options"),
    [
        ([kgated.GRU(4)], {}),
        ([keras.layers.Dense(4)], {}),
        ([kgated.GRU(4, return_sequences=True)], {"mode": "sequence", "length": 9}),
    ],
    ids=["stream", "no state", "sequence"],
)
def test_the_self_test_sees_a_wrong_result(layers, options, tmp_path, rng):
    x = rng.normal(size=(8, 9, 5)).astype(np.float32)
    model = keras.Sequential([keras.Input((None, 5)), *layers, keras.layers.Dense(3)])
    options = {"calibration": x, "quantize": "int8", "target": "mcu", **options}
    kgated.to_tflite(model, tmp_path / "m.tflite", **options)
    manifest = open_model(tmp_path / "m.tflite").manifest
    check_in_micro(tmp_path / "m.tflite")
    header = (tmp_path / "m.h").read_text()
    assert ("struct State" in header) == bool(manifest.states)
    command = program(tmp_path, manifest)
    assert subprocess.run([command, "0"], timeout=20).returncode == 0
    assert subprocess.run([command, "60"], timeout=20).returncode == 1


def test_the_header_has_labels_and_the_sample_period(tmp_path, rng):
    x = rng.normal(size=(8, 9, 5)).astype(np.float32)
    model = keras.Sequential([keras.Input((None, 5)), kgated.GRU(3)])
    options = {"labels": ['a"b', "ü?", "c"], "sample_period_s": 0.01, "calibration": x}
    kgated.to_tflite(model, tmp_path / "m.tflite", quantize="int8", target="mcu", **options)
    check_in_micro(tmp_path / "m.tflite")
    main = tmp_path / "main.cc"
    main.write_text(
        '#include "m.h"\n#include <cstdio>\n'
        "int main() { for (auto* x : kgated_m::kLabels) std::puts(x);"
        ' std::printf("%g", static_cast<double>(kgated_m::kSamplePeriodSeconds)); }'
    )
    program = str(tmp_path / "program")
    command = ["g++", "-std=c++11", "-Werror", "-Wall", str(main), "-o", program]
    subprocess.run(command, check=True, timeout=120)
    run = subprocess.run([program], check=True, timeout=20, capture_output=True)
    assert run.stdout.decode() == 'a"b\nü?\nc\n0.01'
