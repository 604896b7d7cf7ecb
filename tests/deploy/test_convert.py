"""The whole conversion: file against Keras, refusals, and what is on disk afterwards."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from kgated_edge import EdgeModel
from kgated_edge.evaluation.dataset import SequenceData
from model_builders import classifier, spread
from tflite_files import operator_names

import kgated
from kgated.deploy import Recipe, worker
from kgated.deploy.verification import compare
from kgated.errors import ConversionError
from kgated_worker import JobError

FEATURES, STEPS = 5, 12
X_SHAPE = (6, STEPS, FEATURES)
LAYERS = [kgated.LSTM, kgated.PeepholeLSTM, kgated.GRU, keras.layers.LSTM, keras.layers.GRU]


@pytest.fixture
def model(rng):
    return spread(classifier(kgated.PeepholeLSTM, keras.layers.Masking()), rng)


@pytest.mark.parametrize(
    "layer", LAYERS, ids=lambda c: f"{c.__module__.split('.')[0]}.{c.__name__}"
)
def test_float_file_equals_keras_at_every_frame(layer, x, rng, tmp_path):
    model = spread(classifier(layer, keras.layers.Masking()), rng)
    kgated.to_tflite(model, tmp_path / "m.tflite")
    edge = EdgeModel(tmp_path / "m.tflite")
    streamed = np.stack([edge.reset() or edge.run(sequence) for sequence in x])
    prefixes = np.stack([np.asarray(model(x[:, : n + 1])) for n in range(STEPS)], axis=1)
    np.testing.assert_allclose(streamed, prefixes, atol=1e-5)


def test_only_builtin_operators(model, tmp_path):
    kgated.to_tflite(model, tmp_path / "m.tflite")
    names = operator_names((tmp_path / "m.tflite").read_bytes())
    assert "FULLY_CONNECTED" in names
    assert not {name for name in names if name.startswith("Flex") or name == "CUSTOM"}


def test_dynamic_is_smaller_and_agrees(model, x, tmp_path):
    plain = kgated.to_tflite(model, tmp_path / "f.tflite", calibration=x)
    dynamic = kgated.to_tflite(model, tmp_path / "d.tflite", quantize="dynamic", calibration=x)
    assert dynamic.file_bytes < plain.file_bytes
    assert plain.agreement.max_abs_error < 1e-5
    assert 1e-5 < dynamic.agreement.max_abs_error < 0.1
    weights = [t["dtype"] for t in Interpreter(str(tmp_path / "d.tflite")).get_tensor_details()]
    assert np.int8 in weights


def test_the_manifest_describes_inputs_outputs_and_states(model, x, tmp_path):
    conversion = kgated.to_tflite(
        model,
        tmp_path / "m.tflite",
        labels=["a", "b", "c"],
        sample_period_s=0.01,
        calibration=x,
        figures={"accuracy": 0.75},
    )
    manifest = EdgeModel(tmp_path / "m.tflite").manifest
    assert manifest.file_sha256 == conversion.manifest.file_sha256 != "0" * 64
    assert len(repr(conversion)) < 2000
    assert manifest.labels == ("a", "b", "c")
    assert manifest.sample_period_s == 0.01
    assert manifest.figures == {"accuracy": 0.75}
    assert manifest.frame.shape == (FEATURES,)
    assert [s.shape for s in manifest.states] == [(16,), (16,)]
    assert manifest.model.parameters == model.count_params()
    assert manifest.recipe == {
        "mode": "stream",
        "quantize": "none",
        "state": "external",
        "skip": [],
        "target": "cpu",
        "lowering": "auto",
        "batch": 1,
        "calibration_method": "minmax",
        "percentile": 99.99,
        "sessions": 1,
        "block": 1,
        "results": "auto",
    }
    golden = manifest.golden.frames["frame"]
    np.testing.assert_array_equal(golden, x[0, : len(golden)])
    assert conversion.file_bytes == os.path.getsize(tmp_path / "m.tflite")


def test_lengths_of_the_calibration_are_respected(model, x, tmp_path):
    x[0, 4:] = np.nan
    data = SequenceData(x=x, lengths=np.array([4, 12, 12, 12, 12, 12]), y=None)
    conversion = kgated.to_tflite(model, tmp_path / "m.tflite", calibration=data)
    assert conversion.agreement.results == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "sideways"}, "`mode`"),
        ({"quantize": "int3"}, "`quantize`"),
        ({"calibration_method": "mean"}, "`calibration_method`"),
        ({"calibration_method": "mse"}, "`calibration_method` is of ranges"),
        ({"percentile": 20.0}, "`percentile`"),
        ({"tolerance": 0.0}, "`tolerance`"),
        ({"evaluation": (1, 2, 3, 4)}, "`evaluation` must be"),
        ({"evaluation": np.zeros((2, 3, 4), np.float32)}, "`evaluation`"),
        ({"labels": ["a"]}, "`labels`"),
        ({"labels": ["a", "b", "c\nd"]}, "`labels`"),
        ({"sample_period_s": -1.0}, "`sample_period_s`"),
        ({"figures": {"speed": 1.0}}, "`figures` must name some of"),
        ({"figures": {"mae": float("nan")}}, "`figures`"),
        ({"calibration": np.zeros((2, 3, 4), np.float32)}, "`calibration`"),
        ({"calibration": "nowhere.npz"}, "nowhere.npz"),
    ],
)
def test_bad_arguments_leave_no_file(model, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        kgated.to_tflite(model, tmp_path / "m.tflite", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_unwritable_path(model, tmp_path):
    with pytest.raises(OSError, match="no folder"):
        kgated.to_tflite(model, tmp_path / "nowhere" / "m.tflite")


def test_a_file_that_disagrees_is_never_written(model, x, tmp_path, lower_with):
    good = tmp_path / "m.tflite"
    good.write_bytes(b"an older file")
    kernel = model.layers[1].cell.kernel
    lower_with(kernel, kernel + 0.05)
    with pytest.raises(ConversionError, match="disagrees"):
        kgated.to_tflite(model, good, calibration=x)
    assert good.read_bytes() == b"an older file"
    assert list(tmp_path.iterdir()) == [good]


def test_a_failing_converter_is_wrapped_with_the_recipe(model, tmp_path, monkeypatch):
    class Failing:
        def start(self):
            pass

        def run(self, work, folder):
            raise JobError("ConverterError", "\nno such op\nlong trace")

    monkeypatch.setattr(worker, "WORKER", Failing())
    with pytest.raises(ConversionError, match=r"stream-none: no such op$"):
        kgated.to_tflite(model, tmp_path / "m.tflite")


def test_a_failed_write_keeps_the_older_file(model, tmp_path, monkeypatch):
    good = tmp_path / "m.tflite"
    good.write_bytes(b"an older file")

    def disk_full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space"):
        kgated.to_tflite(model, good)
    assert good.read_bytes() == b"an older file"
    assert list(tmp_path.iterdir()) == [good]


def test_recipe_limits_scale_with_the_output():
    recipe = Recipe(quantize="dynamic")
    assert recipe.name == "stream-dynamic"
    assert recipe.limit(10.0) == 10 * recipe.limit(1.0) == 10 * recipe.limit(0.5)
    assert recipe.tolerance(0.0, 1.0) == 1e-3
    assert recipe.tolerance(0.01, 1.0) == 0.04


def test_agreement_against_hand_counted_values():
    report = compare.agreement(
        np.array([[1.0, 0.0], [0.2, 0.8]]), np.array([[0.9, 0.1], [0.6, 0.4]])
    )
    assert report.top1_agreement == 0.5
    assert report.max_abs_error == pytest.approx(0.4)
    assert report.rmse == pytest.approx(np.sqrt((2 * 0.1**2 + 2 * 0.4**2) / 4))


@pytest.mark.slow
def test_a_model_of_another_backend_converts(tmp_path):
    jax = pytest.importorskip("jax", reason="JAX is not installed: its conversion is not tested")
    assert jax
    code = f"""
import keras, kgated
assert keras.backend.backend() == "jax"
import numpy as np
a, b = keras.Input((None, 3), name="a"), keras.Input((None, 2), name="b")
hidden = kgated.GRU(4)(keras.layers.Concatenate()([a, b]))
model = keras.Model([a, b], keras.layers.Dense(2)(hidden))
conversion = kgated.to_tflite(
    model, {str(tmp_path / "m.tflite")!r}, labels=["a, too", "b"], state="internal", batch=2,
    calibration={{"a": np.ones((2, 5, 3), "float32"), "b": np.zeros((2, 5, 2), "float32")}},
)
assert conversion.agreement.max_abs_error < 1e-5, conversion
assert conversion.manifest.state == "internal", conversion
assert (conversion.manifest.golden.frames["a"] == 1).all(), conversion
try:
    model = keras.Sequential([keras.Input((None, 3)), keras.layers.Conv1D(4, 2, name="guilty")])
    kgated.to_tflite(model, {str(tmp_path / "no.tflite")!r})
except kgated.ConversionError as error:
    assert "guilty" in str(error), error
else:
    raise AssertionError("a convolution was taken")
"""
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=300)
    manifest = EdgeModel(tmp_path / "m.tflite").manifest
    assert (manifest.labels, manifest.batch) == (("a, too", "b"), 2)
    assert not (tmp_path / "no.tflite").exists()
