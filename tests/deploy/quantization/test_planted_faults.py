"""A fault in a quantized file is refused, whatever its outputs say of it."""

import keras
import numpy as np
import pytest
from kgated_edge import EdgeModel
from model_builders import classifier, spread
from planted_faults import (
    coarsen_result,
    drop_bias,
    forget_quantize,
    narrow_result,
    scale_bias,
    scale_weights,
    swap_gates,
    untie_state,
    zero_bias,
)

import kgated
from kgated import steps
from kgated.deploy.lowering.converter import lower
from kgated.deploy.manifest_writer import embed
from kgated.deploy.quantization import quantize
from kgated.deploy.quantization.ranges.calibration import record
from kgated.deploy.recipe import QUANTIZATIONS, Recipe
from kgated.deploy.streaming import step_model
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.float_file import FloatFile
from kgated.errors import ConversionError

STATIC = ["int8", "int16x8"]
QUANTIZED = [name for name in QUANTIZATIONS if name != "none"]
X_SHAPE = (6, 12, 5)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A float file, samples of its inputs, its states."""
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    model = spread(classifier(kgated.LSTM, units=8), rng)
    path = tmp_path_factory.mktemp("float") / "m.tflite"
    x = rng.normal(size=X_SHAPE).astype(np.float32)
    manifest = kgated.to_tflite(model, path, calibration=x).manifest
    step = step_model(model, steps.affine)
    samples = record(EdgeModel(path), [{"frame": sequence} for sequence in x])
    return embed(lower(step, Recipe()), manifest), samples, [(n, n) for n in step.states]


def quantized(source, name):
    content, samples, shared = source
    recipe = Recipe(quantize=name)
    samples = samples if recipe.is_static else ()
    return quantize.quantize(FloatFile.from_bytes(content), recipe, samples, shared)


IN_EVERY_RECIPE = {
    swap_gates: "differs by up to",
    zero_bias: "differs by up to",
    drop_bias: "a bias is missing",
    scale_weights: "differs by up to|bias whose scale",
}
IN_INTEGERS = {
    scale_bias: "input scale times weight scale|differs by up to",
    coarsen_result: "has a scale|copies integers",
    narrow_result: "has a scale|copies integers",
    forget_quantize: "a QUANTIZE is missing",
    untie_state: "goes out in another scale|differ in scale",
}
CASES = [(q, *case) for case in IN_EVERY_RECIPE.items() for q in QUANTIZED]
CASES += [(q, *case) for case in IN_INTEGERS.items() for q in STATIC]


@pytest.mark.parametrize(("name", "fault", "message"), CASES)
def test_a_fault_in_a_quantized_file_is_refused(name, fault, message, source, monkeypatch):
    apply = quantize.apply_rules

    def apply_with_fault(*arguments):
        model, ranges = apply(*arguments)
        fault(model)
        return model, ranges

    monkeypatch.setattr(quantize, "apply_rules", apply_with_fault)
    with pytest.raises(ConversionError, match=message):
        quantized(source, name)


@pytest.mark.parametrize("name", QUANTIZED)
def test_a_file_without_faults_passes(name, source):
    assert flatbuffer.pack(quantized(source, name))


def swapped(kernel):
    """The kernel with its first two gates exchanged."""
    gates = np.split(kernel, 4, axis=-1)
    return np.concatenate([gates[1], gates[0], *gates[2:]], axis=-1)


@pytest.mark.parametrize("name", QUANTIZATIONS)
def test_a_wrong_graph_is_refused_before_it_is_quantized(name, x, rng, tmp_path, lower_with):
    model = spread(classifier(kgated.LSTM, units=8), rng)
    kernel = model.get_layer("cell").cell.kernel
    lower_with(kernel, swapped(keras.ops.convert_to_numpy(kernel)))
    with pytest.raises(ConversionError, match="the float file disagrees with the Keras model"):
        kgated.to_tflite(model, tmp_path / "m.tflite", quantize=name, calibration=x)
    assert not list(tmp_path.iterdir())
