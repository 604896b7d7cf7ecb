"""The command on other people's models: layers of their own, files of Keras 2, unsafe ones."""

import subprocess
import sys

import keras
import numpy as np
import pytest

import kgated
import kgated_cli

LAYERS = """
import keras


class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2.0 * x


@keras.saving.register_keras_serializable("mine")
class Halved(keras.layers.Layer):
    def call(self, x):
        return 0.5 * x
"""


@pytest.fixture
def run(capfd, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            kgated_cli.main([*map(str, arguments)])
        return stop.value.code, *capfd.readouterr()

    return run


def save(path, *layers, time=None):
    inputs = keras.Input((time, 3))
    keras.Sequential([inputs, kgated.GRU(4, return_sequences=True), *layers]).save(path)


def own_layers(path):
    """The classes of the file, as its author has them; forgotten by Keras thereafter."""
    path.write_text(LAYERS)
    namespace = {"__name__": "my_layers"}
    exec(LAYERS, namespace)
    keras.saving.get_custom_objects().pop("mine>Halved")
    return namespace["Doubled"], namespace["Halved"]


def test_layers_of_ones_own(run, tmp_path):
    doubled, halved = own_layers(tmp_path / "my_layers.py")
    save("m.keras", doubled(), halved())
    status, _, error = run("convert", "m.keras", "m.tflite")
    assert status == 2
    assert "Doubled" in error
    assert "--import my_layers.py" in error
    status, out, error = run("convert", "m.keras", "m.tflite", "--import", "my_layers.py")
    assert status == 0, error
    assert "m.tflite" in out
    keras.saving.get_custom_objects().pop("mine>Halved", None)


def test_an_error_in_the_file_is_one_sentence(run, tmp_path):
    save("m.keras")
    for text, words in [
        ("import keras\nkeras.nothing\n", "line 2: AttributeError"),
        ("import no_such_package\n", "line 1: ModuleNotFoundError"),
        ("raise SystemExit(3)\n", "line 1: SystemExit: 3"),
    ]:
        (tmp_path / "own.py").write_text(text)
        status, _, error = run("convert", "m.keras", "m.tflite", "--import", "own.py")
        assert status == 2
        assert error.startswith(f"kgated: error: --import own.py, {words}")
        assert error.count("\n") == 1


def test_a_lambda_is_refused_with_the_way_out(run):
    save("m.keras", keras.layers.Lambda(lambda x: 2 * x))
    status, _, error = run("convert", "m.keras", "m.tflite")
    assert status == 2
    assert "Lambda layer, whose Python code is in the file and is not run" in error
    assert "--import my_layers.py" in error


def test_a_layer_that_can_not_stream_is_refused_with_the_way_out(run, tmp_path):
    save("m.keras", keras.layers.Bidirectional(keras.layers.GRU(4)), time=4)
    status, _, error = run("convert", "m.keras", "m.tflite")
    assert (status, error.count("\n")) == (2, 1)
    assert "layer `bidirectional" in error
    assert 'convert with `mode="sequence"`' in error
    for mode in ("stream", "sequence"):
        options = ("--target", "c", "--mode", mode)
        status, _, error = run("convert", "m.keras", "m.tflite", *options)
        assert (status, error.count("\n")) == (2, 1)
        assert "take `target='cpu'`" in error
        assert "convert with" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["m.keras"]


def test_a_wrong_option_points_to_the_help_of_its_command(run):
    assert "See `kgated web --help`." in run("web", "m.tflite", "--out", "page")[2]
    assert "See `kgated data csv --help`." in run("data", "csv", "folder")[2]
    assert "See `kgated --help`." in run("nonsense")[2]
    assert "equal to 1. See `kgated train --help`." in run("train", "a", "b", "--epochs", "0")[2]


@pytest.mark.parametrize("arguments", [(), ("data",)])
def test_a_command_without_arguments_prints_its_help_and_no_error(run, arguments):
    status, out, error = run(*arguments)
    assert status == 2
    assert "Commands" in out + error
    assert "error" not in out + error


def test_a_file_named_as_a_source_needs_a_target_that_has_sources(run, tmp_path):
    save("m.keras")
    names = {"m.c": "source", "m.h": "source", "m.cc": "source", "out.keras": "Keras model"}
    for name, kind in names.items():
        status, _, error = run("convert", "m.keras", name)
        assert status == 2
        assert f"{name} is the name of a {kind}" in error
    assert [path.name for path in tmp_path.iterdir()] == ["m.keras"]


def test_a_file_in_hdf5(run):
    save("m.h5", keras.layers.Dense(2))
    status, out, error = run("convert", "m.h5", "m.tflite")
    assert (status, error) == (0, "")
    assert "mode stream" in out
    assert "note" not in out


def test_a_fixed_length_is_remarked_where_the_mode_is_not_given(run):
    save("m.keras", time=5)
    status, out, _ = run("convert", "m.keras", "m.tflite")
    assert status == 0
    assert "note: the model's Input has a fixed length of 5 frames" in out
    assert "--mode sequence" in out
    assert "note" not in run("convert", "m.keras", "m.tflite", "--mode", "stream")[1]


def test_calibration_of_other_types_and_with_labels_of_any_kind(run, rng):
    save("m.keras")
    np.savez("x.npz", x=rng.normal(size=(4, 6, 3)), y=np.array(list("abcd")))
    np.save("x.npy", np.asfortranarray(rng.normal(size=(4, 6, 3))))
    for name in ("x.npz", "x.npy"):
        status, _, error = run(
            "convert", "m.keras", "m.tflite", "--quantize", "int8", "--calibration", name
        )
        assert (status, error) == (0, "")


def test_verbose_shows_what_libraries_log(tmp_path):
    save(tmp_path / "m.keras")
    call = [sys.executable, "-m", "kgated_cli", "convert", tmp_path / "m.keras"]
    call += [tmp_path / "m.tflite", "--verbose"]
    loud = subprocess.run(call, capture_output=True, text=True, timeout=200)
    assert loud.returncode == 0
    assert loud.stderr  # `test_convert_writes_file_and_report` sees that it is empty without
