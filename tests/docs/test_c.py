"""The C example of docs/c.md compiles and runs with generated sources."""

import subprocess

import keras
import numpy as np
import pytest
from c_programs import STRICT, has
from documents import blocks, page

import kgated

MAIN = """
#include <string.h>
#include "example.c"
static int calls, results;
int read_frame(float values[SPEAKER_IN_FRAME_SIZE]) {
  memset(values, 0, SPEAKER_IN_FRAME_SIZE * sizeof *values);
  return calls++ < 5;
}
void act_on(const float values[SPEAKER_OUT_OUTPUT_SIZE]) { results += values[0] <= 1.0f; }
int main(void) { return listen() && results == 5 ? 0 : 1; }
"""


@pytest.mark.slow
@pytest.mark.skipif(not has("gcc"), reason="no gcc: the example was NOT compiled")
def test_the_example_runs(tmp_path):
    (example,) = blocks(page("docs/c.md"), "c")
    keras.utils.set_random_seed(0)
    layers = [kgated.GRU(4), keras.layers.Dense(3, "softmax")]
    model = keras.Sequential([keras.Input((None, 5)), *layers])
    x = np.random.default_rng(0).normal(size=(4, 9, 5)).astype(np.float32)
    options = {"quantize": "dynamic", "calibration": x, "target": "c", "mode": "stream"}
    conversion = kgated.to_tflite(model, tmp_path / "speaker.c", **options)
    assert conversion.path == tmp_path / "speaker.tflite"
    (tmp_path / "example.c").write_text(example)
    (tmp_path / "main.c").write_text(MAIN)
    command = ["gcc", *STRICT, "main.c", "speaker.c", "-o", "program", "-lm"]
    subprocess.run(command, check=True, cwd=tmp_path, timeout=300)
    assert subprocess.run([tmp_path / "program"], timeout=60).returncode == 0
