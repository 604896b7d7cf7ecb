"""The examples in other languages: C++ is compiled and run where LiteRT's source is at hand."""

import json
import os
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import keras
import numpy as np
import pytest
from documents import ROOT, blocks, page
from typer.testing import CliRunner

from kgated_cli.app import app

EXAMPLES = ROOT / "docs" / "examples"
ARCHIVE = ROOT / "tests" / "edge" / "fixtures" / "archive" / "0.2.0.dev0"
SOURCE = os.environ.get("LITERT_SOURCE")
RECIPES = ("none", "dynamic", "dynamic4", "int8", "int16x8")
# LiteRT's own build makes these two.
BUILD_CONFIG = "#define LITERT_DISABLE_GPU\n#define LITERT_DISABLE_NPU\n"
BUILTIN = """
#include "litert/c/internal/litert_runtime_c_api.h"
extern "C" const LiteRtRuntimeCApiStruct kLiteRtRuntimeBuiltin;
extern "C" const LiteRtRuntimeCApiStruct* GetLiteRtRuntimeBuiltin() {
  return &kLiteRtRuntimeBuiltin;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The C++ example, with LiteRT's headers and library, and TensorFlow's Abseil."""
    if SOURCE is None or which("clang++") is None:
        pytest.skip("no LITERT_SOURCE or no clang++: the C++ example was NOT compiled")
    folder = tmp_path_factory.mktemp("cpp")
    (folder / "litert" / "build_common").mkdir(parents=True)
    (folder / "litert" / "build_common" / "build_config.h").write_text(BUILD_CONFIG)
    (folder / "builtin.cc").write_text(BUILTIN)
    tensorflow, litert = (
        Path(find_spec(name).origin).parent for name in ("tensorflow", "ai_edge_litert")
    )
    libraries = [
        litert / "libLiteRt.so",
        *(tensorflow / f"libtensorflow_{name}.so.2" for name in ("cc", "framework")),
    ]
    command = [
        *("clang++", "-std=c++20", "-O1", "-w", f"-I{folder}", f"-I{SOURCE}"),
        *("-isystem", tensorflow / "include", EXAMPLES / "stream.cc", folder / "builtin.cc"),
        *(
            Path(SOURCE) / "litert" / "c" / "internal" / "litert_logging.cc",
            "-o",
            folder / "stream",
        ),
        *(*libraries, f"-Wl,-rpath,{litert}:{tensorflow}"),
    ]
    subprocess.run(list(map(str, command)), check=True, timeout=600)
    return folder / "stream"


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_cpp_example_computes_what_the_runner_computes(program, recipe):
    path = ARCHIVE / f"stream-{recipe}.tflite"
    with np.load(path.with_suffix(".npz")) as arrays:
        frames, (expected,) = (
            arrays["in_frame"],
            [arrays[n] for n in arrays if n.startswith("out_")],
        )
    text = "\n".join(" ".join(f"{value:.9g}" for value in frame) for frame in frames)
    run = subprocess.run([program, path], input=text, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    actual = [[float(value) for value in line.split()] for line in run.stdout.splitlines()]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)
    assert np.ptp(expected, axis=0).max() > 0.01


@pytest.mark.slow
def test_the_cpp_example_refuses_another_file(program, tmp_path):
    run = subprocess.run(
        [program, tmp_path / "none.tflite"], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 2
    assert "none.tflite" in run.stderr


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="converts")
def test_the_description_for_machines_has_names_shapes_states_and_labels(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    first, second = blocks(page("docs/languages.md"), "python")
    exec(first, {})
    ((command,),) = [text.splitlines() for text in blocks(page("docs/languages.md"), "sh")]
    result = CliRunner().invoke(app, command.split()[1:], catch_exceptions=False)
    assert result.exit_code == 0
    capsys.readouterr()
    exec(second, {})
    assert capsys.readouterr().out.splitlines() == [
        "[('frame', [3], 'float32')]",
        "['gru_h'] ['a', 'b', 'c', 'd'] 0.02",
    ]
    assert json.loads(Path("sensor.json").read_text())["manifest"]["format_version"] == 1


def test_both_examples_take_names_from_the_file_and_no_place():
    for name in ("stream.cc", "Stream.kt"):
        text = (EXAMPLES / name).read_text()
        assert len(text.splitlines()) < 220
        assert '"step"' in text
        assert not re.search(r"lstm|gru|\w+_h\b|serving_default", text)
