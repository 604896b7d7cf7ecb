"""The tf_keras twins, in a separate process, since tfmot changes the process that imports it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

TESTS = Path(__file__).parents[1]
ON_TENSORFLOW = keras.backend.backend() == "tensorflow"

pytestmark = [
    pytest.mark.skipif(not ON_TENSORFLOW, reason="tf_keras is TensorFlow's"),
    pytest.mark.slow,  # a second TensorFlow, with tf_keras
]


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    environment.pop("TF_USE_LEGACY_KERAS", None)
    command = [sys.executable, TESTS / "twins.py", tmp_path_factory.mktemp("twins")]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=400)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


def test_every_variant_is_the_oracles(reports):
    for row, (right, swapped) in reports["oracle"].items():
        assert right < 2e-6, row
        assert swapped > 1e-3, row


def test_models_go_there_and_back_with_the_same_bits(reports):
    for over_there, back, same in reports["there_and_back"]:
        assert over_there < 1e-6
        assert back == 0.0
        assert same


def test_tfmot_prunes(reports):
    sparsity, error = reports["pruned"]
    assert list(sparsity.values()) == pytest.approx([0.5, 0.5], abs=0.04)
    assert error < 1e-6
    assert list(reports["both_ways"].values()) == [0.75]


def test_tfmot_clusters(reports):
    values, error = reports["clustered"]
    assert max(values) <= 4
    assert error < 1e-6


def test_tfmot_quantizes(reports):
    steps, error = reports["quantized"]
    assert steps < 1.0  # of the output's grid, from the oracle with weights rounded by hand
    assert error == 0.0


def test_prune_takes_schedules_of_tfmot(reports):
    assert list(reports["by_schedule"].values()) == pytest.approx([0.75, 0.75], abs=0.05)


def test_our_schedules_are_those_of_tfmot(reports):
    reference, gated = reports["schedules"]
    assert [due for due, _ in gated] == [due for due, _ in reference]
    assert {True, False} == {due for due, _ in gated}
    assert [s for _, s in gated] == pytest.approx([s for _, s in reference], abs=1e-6)


def test_the_process_stays_with_keras_3(reports):
    assert reports["switch"] is None
    assert reports["tf.keras"] == keras.__version__


def test_what_has_no_counterpart_is_named(reports):
    layer, precision, no_model, wrapped = reports["refused"]
    assert layer.startswith("TypeError: layer `up` (Conv1DTranspose) has no counterpart")
    assert precision.startswith("ValueError: layer `h` must be in float32. Received: bfloat16")
    assert no_model.startswith("ValueError: `model` must be a built Keras 3 model")
    assert "strip_pruning" in wrapped
