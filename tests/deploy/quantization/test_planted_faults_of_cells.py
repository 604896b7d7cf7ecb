"""The planted faults in other cells, in sequences of each lowering, and for microcontrollers."""

from dataclasses import replace
from functools import partial

import keras
import numpy as np
import planted_faults as faults
import pytest
from model_builders import spread

import kgated
from kgated.deploy.quantization import quantize
from kgated.deploy.tflite.float_file import FloatFile
from kgated.errors import ConversionError

T, F = 6, 3
WHOLE = {"mode": "sequence", "length": T}
CASES = {  # cell, number of its gates, options of the conversion
    "PeepholeLSTM": (kgated.PeepholeLSTM, 4, {}),
    "GRU": (kgated.GRU, 3, {}),
    "MinGRU": (kgated.MinGRU, 2, {}),
    "unrolled": (kgated.LSTM, 4, {**WHOLE, "lowering": "unrolled"}),
    "while": (kgated.GRU, 3, {**WHOLE, "lowering": "while"}),
    "mcu": (kgated.GRU, 3, {"target": "mcu"}),
}
IN_EVERY_RECIPE = ("swap_gates", "zero_bias", "drop_bias", "scale_weights")
IN_INTEGERS = ("scale_bias", "coarsen_result", "narrow_result", "untie_state")
RECIPES = ("dynamic", "int8", "int16x8")
PLANTED = [(fault, q) for fault in IN_EVERY_RECIPE for q in RECIPES]
PLANTED += [(fault, q) for fault in IN_INTEGERS for q in RECIPES[1:]]


@pytest.fixture(scope="module", params=CASES)
def source(request, tmp_path_factory):
    """The name of a case, and the job of its quantization in int8."""
    cell, _, options = CASES[request.param]
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    model = spread(keras.Sequential([keras.Input((None, F)), cell(6)]), rng)
    x = rng.normal(size=(6, T, F)).astype(np.float32)
    path = tmp_path_factory.mktemp("m") / "m.tflite"
    return request.param, faults.int8_job(model, path, x, **options)


def quantized(job, name):
    target = job.recipe.target if name != "dynamic" else "cpu"
    recipe = replace(job.recipe, quantize=name, target=target)
    samples = job.samples if recipe.is_static else ()
    return quantize.quantize(
        FloatFile.from_bytes(job.content, job.layers), recipe, samples, job.shared
    )


@pytest.mark.parametrize(("fault", "name"), PLANTED)
def test_a_planted_fault_is_refused(fault, name, source, monkeypatch):
    case, job = source
    change, planted = getattr(faults, fault), []
    if fault == "swap_gates":
        change = partial(change, count=CASES[case][1])
    apply = quantize.apply_rules

    def apply_with_fault(*arguments):
        model, ranges = apply(*arguments)
        try:
            change(model)
        except StopIteration:
            return model, ranges  # it has no such operator, as a loop's surroundings
        planted.append(fault)
        return model, ranges

    monkeypatch.setattr(quantize, "apply_rules", apply_with_fault)
    if fault == "untie_state" and "length" in CASES[case][2]:
        assert job.shared == []  # a sequence has no states outside
        return
    with pytest.raises(ConversionError):
        quantized(job, name)
    assert planted


@pytest.mark.parametrize("name", RECIPES)
def test_a_file_without_faults_passes(name, source):
    assert quantized(source[1], name).subgraphs
