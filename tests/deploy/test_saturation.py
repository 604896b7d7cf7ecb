"""Sigmoid and tanh stay in their range at saturation, in every recipe and in the C sources."""

import keras
import numpy as np
import pytest
from c_programs import has
from kgated_edge import EdgeModel
from kgated_edge.cli.main import main

import kgated
from kgated.deploy import convert
from kgated.deploy.recipe import QUANTIZATIONS

FEATURES = 3
SIGNS = ((1, 1, 1), (-1, -1, -1), (1, -1, 1), (-1, 1, -1), (0, 0, 1))
NATIVE = ("none", "dynamic", "dynamic4", "int8")


@pytest.fixture(scope="module")
def model():
    """A GRU and heads whose kernels are so large that a normal frame saturates them."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((None, FEATURES))
    x = kgated.GRU(4, return_sequences=True)(inputs)
    heads = [keras.layers.Dense(2, activation=name, name=name) for name in ("sigmoid", "tanh")]
    model = keras.Model(inputs, {head.name: head(x) for head in heads})
    for weight in model.weights:
        if "kernel" in weight.path:
            weight.assign(50 * weight)
    return model


@pytest.fixture(autouse=True)
def _no_explanation_of_the_cost(monkeypatch):
    """Saturated gates cost much, and to find the layer takes seconds."""
    monkeypatch.setattr(convert, "warn_of_cost", lambda *_: None)


def converted(model, folder, quantize, **options):
    x = np.random.default_rng(1).normal(size=(8, 10, FEATURES)).astype(np.float32)
    path = folder / "m.tflite"
    kgated.to_tflite(model, path, quantize=quantize, calibration=x, **options)
    return path


def sizes(quantize):
    return (1e3,) if QUANTIZATIONS[quantize].is_static else (1e3, 1e6)


def real(value, spec):
    """A state as real numbers."""
    if spec.scale is None:
        return value
    return spec.scale * (value.astype(np.float64) - spec.zero_point)


def extremes(edge, size):
    """By output and state the smallest and the largest value over frames of saturating signs."""
    values, specs = {}, {state.name: state for state in edge.manifest.states}
    noise = np.random.default_rng(2).normal(size=(4, FEATURES))
    for frame in np.concatenate([size * np.repeat(SIGNS, 3, axis=0), noise]).astype(np.float32):
        outputs = edge.step(frame)
        states = {name: real(value, specs[name]) for name, value in edge.state.items()}
        for name, value in {**outputs, **states}.items():
            values.setdefault(name, []).append(value)
    return {name: (np.min(value), np.max(value)) for name, value in values.items()}


def check_range(edge, size):
    """The outputs stay in their range; a state of integers may round over it by half a step."""
    limits = extremes(edge, size)
    steps = {state.name: state.scale or 0 for state in edge.manifest.states}
    assert limits.keys() == {"sigmoid", "tanh", *edge.state}
    for name, (low, high) in limits.items():
        assert high > 0.9, (name, low, high)  # saturated
        assert low < (0.1 if name == "sigmoid" else -0.9), (name, low, high)
        margin = 0.501 * steps.get(name, 0)
        assert low >= (0 if name == "sigmoid" else -1) - margin, (name, low)
        assert high <= 1 + margin, (name, high)


@pytest.mark.parametrize("quantize", QUANTIZATIONS)
def test_no_recipe_leaves_the_range(quantize, model, tmp_path):
    edge = EdgeModel(converted(model, tmp_path, quantize))
    for size in sizes(quantize):
        check_range(edge, size)


@pytest.mark.skipif(not has("gcc"), reason="no gcc: saturation in C was NOT checked")
@pytest.mark.parametrize("quantize", NATIVE)
def test_no_c_source_leaves_the_range(quantize, model, tmp_path):
    path = converted(model, tmp_path, quantize, target="c")
    assert main(["build", str(path.with_suffix(".c"))]) == 0
    edge = EdgeModel(path, engine="native")
    for size in sizes(quantize):
        check_range(edge, size)
