"""How often a conversion parses and packs the file: each pass over bytes would cost both."""

import sys

import keras
import numpy as np
import pytest

import kgated
from kgated.deploy.quantization.worker_job import quantized_file
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.verification import float_stage

MAX_PARSES, MAX_PACKS = 3, 2


class Counter:
    """A function that counts its calls."""

    def __init__(self, function):
        self.function, self.calls = function, 0

    def __call__(self, *arguments):
        self.calls += 1
        return self.function(*arguments)


@pytest.fixture
def counters(monkeypatch):
    """Counters in place of `parse` and `pack`, in every module that has imported them."""
    counters = {name: Counter(getattr(flatbuffer, name)) for name in ("parse", "pack")}
    modules = [m for name, m in sorted(sys.modules.items()) if name.startswith("kgated.deploy")]
    for module in modules:
        for name, counter in counters.items():
            if getattr(module, name, None) is counter.function:
                monkeypatch.setattr(module, name, counter)
    return counters


def test_a_static_stream_is_parsed_and_packed_a_few_times(rng, tmp_path, counters, monkeypatch):
    # The worker runs the same function, where it could not be counted.
    monkeypatch.setattr(float_stage, "quantize_in_worker", quantized_file)
    model = keras.Sequential([keras.Input((None, 5)), kgated.LSTM(8), keras.layers.Dense(3)])
    x = rng.normal(size=(4, 12, 5)).astype(np.float32)
    kgated.to_tflite(model, tmp_path / "m.tflite", quantize="int8", calibration=x)
    assert 1 <= counters["parse"].calls <= MAX_PARSES
    assert 1 <= counters["pack"].calls <= MAX_PACKS


def test_the_counters_see_every_module(counters):
    """`from ... import parse` makes a name in the module itself, which must be counted, too."""
    from kgated.deploy import manifest_writer
    from kgated.deploy.lowering import converter

    assert manifest_writer.pack is counters["pack"]
    assert converter.parse is counters["parse"]
    assert flatbuffer.parse is counters["parse"]
