"""The command as a user runs it: in a separate process, or here where only what it does counts."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
import pytest
import warm_processes
from micro_runtime import check_in_micro

import kgated
import kgated_cli

SCRIPT = Path(__file__).parent.parent / "scripts" / "convert.py"


def run(*arguments):
    command = [sys.executable, "-m", "kgated_cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture
def run_here(capfd):
    """The same in this process."""

    def run_here(*arguments):
        with pytest.raises(SystemExit) as stop:
            kgated_cli.main([*map(str, arguments)])
        return subprocess.CompletedProcess(arguments, stop.value.code or 0, *capfd.readouterr())

    return run_here


@pytest.fixture
def saved(tmp_path):
    layers = [
        keras.Input((None, 3)),
        kgated.PeepholeLSTM(4, name="cell"),
        keras.layers.Dense(2, name="dense"),
    ]
    keras.Sequential(layers).save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


def assert_one_line(done, *words):
    """Bad input: status 2, nothing on stdout, one line on stderr that holds the words."""
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr.startswith("kgated: error: ")
    assert done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in words), done.stderr


def test_version_and_help_need_no_backend():
    assert run("--version").stdout == f"kgated {version('kgated')}\n"
    assert "convert" in run("--help").stdout
    for option in (
        "--mode",
        "--quantize",
        "--skip",
        "--state",
        "--target",
        "--calibration",
        "--labels",
        "--sample-period-ms",
    ):
        assert option in run("convert", "--help").stdout


@pytest.mark.slow
def test_convert_writes_file_and_report(saved, tmp_path):
    output, report = tmp_path / "m.tflite", tmp_path / "r.json"
    arguments = (saved, output, "--quantize", "dynamic", "--state", "internal", "--labels", "a,b")
    done = run("convert", *arguments, "--sample-period-ms", "12.5", "--json", report)
    assert done.returncode == 0, done
    assert done.stderr == ""
    assert "top-1 agreement" in done.stdout
    assert json.loads(report.read_text())["file_bytes"] == output.stat().st_size
    assert b'"state":"internal"' in output.read_bytes()


def assert_only_warns_of_cost(text):
    """The model is random, so its quantization may cost decisions."""
    assert all(x.startswith("kgated: warning: quantization costs") for x in text.splitlines())


@pytest.mark.slow
def test_inspect_describes_a_static_file(saved, rng, tmp_path, run_here):
    output, report = tmp_path / "m.tflite", tmp_path / "r.json"
    np.savez(tmp_path / "x.npz", x=rng.normal(size=(4, 9, 3)).astype(np.float32))
    arguments = ("--quantize", "int8", "--skip", "dense", "--calibration", tmp_path / "x.npz")
    done = run_here("convert", saved, output, *arguments)
    assert done.returncode == 0, done
    assert_only_warns_of_cost(done.stderr)
    assert "RMSE" in done.stdout
    result = run_here("inspect", output, "--json", report)
    assert (result.returncode, result.stderr) == (0, ""), result
    for word in ("cell_h", "int8", "skip dense", "FULLY_CONNECTED", "KiB"):
        assert word in result.stdout
    assert json.loads(report.read_text())["manifest"]["recipe"]["skip"] == ["dense"]
    assert_one_line(run_here("inspect", saved), str(saved), "not a TFLite file")


@pytest.mark.slow
def test_sources_for_a_microcontroller(saved, rng, tmp_path, run_here):
    np.savez(tmp_path / "x.npz", x=rng.normal(size=(4, 9, 3)).astype(np.float32))
    arguments = ("--quantize", "int8", "--target", "mcu", "--calibration", tmp_path / "x.npz")
    done = run_here("convert", saved, tmp_path / "m.tflite", *arguments)
    assert done.returncode == 0, done
    assert_only_warns_of_cost(done.stderr)
    assert str(tmp_path / "m.h") in done.stdout
    assert "KiB at most" in done.stdout
    assert "namespace kgated_m" in (tmp_path / "m.cc").read_text()
    check_in_micro(tmp_path / "m.tflite")


@pytest.mark.slow
def test_script_is_the_same_command(saved, tmp_path):
    done = warm_processes.run(SCRIPT, saved, tmp_path / "m.tflite")
    assert done.returncode == 0, done
    assert (tmp_path / "m.tflite").exists()


def test_module_of_the_package_is_the_same_command():
    assert "convert" in warm_processes.run("-m", "kgated", "--help").stdout


def test_bad_input_of_a_process_of_its_own(saved, tmp_path):
    assert_one_line(run("convert", saved, tmp_path / "m.tflite", "--quantize", "int3"), "int3")


def test_bad_input_is_one_line_and_status_2(saved, tmp_path, run_here):
    run = run_here
    text = tmp_path / "text.keras"
    text.write_text("not a model")
    before = sorted(tmp_path.iterdir())
    output = tmp_path / "m.tflite"
    assert_one_line(run("convert", tmp_path / "no.keras", output), "no.keras", "no such file")
    assert_one_line(run("convert", text, output), "text.keras", "no intact file of Keras")
    assert_one_line(run("convert", saved, tmp_path / "no" / "m.tflite"), "no folder")
    assert_one_line(run("convert", saved, tmp_path), "it is a folder")
    assert_one_line(run("convert", saved, saved), "one of the inputs")
    assert_one_line(run("convert", saved, output, "--quantize", "int3"), "`quantize`")
    assert_one_line(run("convert", saved, output, "--quantize", "int8"), "needs `calibration`")
    assert_one_line(run("convert", saved, output, "--target", "mcu"), "`target='mcu'`", "int8")
    skip = ("--quantize", "dynamic", "--skip", "nobody")
    assert_one_line(run("convert", saved, output, *skip), "nobody", "cell")
    assert_one_line(run("convert", saved, output, "--labels", "a"), "`labels`")
    assert_one_line(run("convert", saved, output, "--calibration", "no.npz"), "no.npz")
    assert_one_line(run("convert", saved), "output")
    assert_one_line(run("convert", saved, output, "--nonsense"), "--nonsense")
    assert sorted(tmp_path.iterdir()) == before
