"""`kgated convert` tells what the quantization costs, in this process."""

import json

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

import kgated
from kgated.errors import ConversionError
from kgated_cli.app import app

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, calibration sequences, and labelled ones."""
    folder = tmp_path_factory.mktemp("cli")
    keras.utils.set_random_seed(0)
    last = keras.layers.Dense(3, activation="softmax")
    model = keras.Sequential([keras.Input((None, 4)), kgated.GRU(6), last])
    model.save(folder / "m.keras")
    x = np.random.default_rng(0).normal(size=(30, 6, 4)).astype(np.float32)
    np.savez(folder / "train.npz", x=x[:10])
    np.savez(folder / "test.npz", x=x[10:], y=np.asarray(model(x[10:])).argmax(axis=-1))
    return folder


def convert(folder, *options):
    files = [str(folder / "m.keras"), str(folder / "m.tflite")]
    data = ["--calibration", str(folder / "train.npz"), "--evaluation", str(folder / "test.npz")]
    quantize = ["--quantize", "int8", "--calibration-method", "percentile", "--percentile", "99.9"]
    return RUNNER.invoke(app, ["convert", *files, *data, *quantize, *options])


def test_the_report_has_the_accuracy_of_both(folder):
    done = convert(folder, "--json", str(folder / "report.json"))
    assert done.exit_code == 0, done.output
    assert "of the output's spread)" in done.output
    assert "over 20 labelled sequences: accuracy 100.0% of the Keras model" in done.output
    report = json.loads((folder / "report.json").read_text())
    assert report["evaluation"]["keras"]["accuracy"] == 1.0
    assert report["recipe"]["calibration_method"] == "percentile"
    assert report["recipe"]["percentile"] == 99.9
    assert 0.0 < report["agreement"]["relative_rmse"] < 1.0


def test_a_tolerance_is_a_gate(folder):
    done = convert(folder, "--tolerance", "1e-5")
    assert isinstance(done.exception, ConversionError)
    assert "`tolerance` allows" in str(done.exception)
    assert "--tolerance must be above 0" in str(convert(folder, "--tolerance", "-1").exception)
