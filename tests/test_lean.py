"""The command runs on what `pip install kgated` brings, with no extra: not JAX, not PyTorch."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import keras
import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import kgated

HERE = Path(__file__).parent

pytestmark = pytest.mark.slow  # each test starts TensorFlow again


def requirements_of(root="kgated"):
    """The distributions that one and its requirements need, without extras."""
    actual, waiting = set(), [root]
    while waiting:
        if (name := canonicalize_name(waiting.pop())) in actual:
            continue
        actual.add(name)
        for text in metadata.requires(name) or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return actual


def hidden_modules():
    """Top-level modules that are installed here, and would not be there."""
    there = requirements_of()
    owners = metadata.packages_distributions().items()
    return {m for m, of in owners if not {canonicalize_name(name) for name in of} & there}


@pytest.fixture(scope="module")
def run():
    """The command, in a process that lacks every extra."""
    hidden = hidden_modules()
    assert {"jax", "torch", "sklearn", "plotly"} <= hidden
    paths = [str(HERE / "lean"), str(HERE.parent), str(HERE.parent / "edge")]
    environment = {
        **os.environ,
        "HIDDEN_MODULES": ",".join(hidden),
        "PYTHONPATH": os.pathsep.join(paths),
    }

    def run(*arguments):
        command = [sys.executable, "-m", "kgated_cli", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    return run


def test_converts_to_integers_and_inspects(run, rng, tmp_path):
    model, path = tmp_path / "m.keras", tmp_path / "m.tflite"
    keras.Sequential([keras.Input((None, 3)), kgated.GRU(4)]).save(model)
    np.savez(tmp_path / "x.npz", x=rng.normal(size=(4, 9, 3)).astype(np.float32))
    options = ("--quantize", "int8", "--calibration", tmp_path / "x.npz")
    done = run("convert", model, path, *options)
    assert done.returncode == 0, done.stderr
    done = run("inspect", path)
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    for fact in ("mode stream", "quantize int8", "frame", "LOGISTIC"):
        assert fact in text


def test_an_import_error_names_the_extra(run, tmp_path):
    done = run("demo", "--out", tmp_path)
    assert done.returncode == 2, done.stderr
    assert "kgated[demo]" in done.stderr
