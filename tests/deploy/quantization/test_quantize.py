"""Quantized files: what they compute, what is in them, what is refused."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from kgated_edge import EdgeModel
from model_builders import classifier, spread
from tflite_files import operators

import kgated
from kgated import steps
from kgated.deploy.lowering.converter import lower
from kgated.deploy.manifest_writer import embed
from kgated.deploy.quantization.quantize import quantize as quantize_model
from kgated.deploy.quantization.ranges.calibration import record
from kgated.deploy.quantization.worker_job import (
    QuantizationJob,
    quantize_in_worker,
    quantized_file,
)
from kgated.deploy.recipe import QUANTIZATIONS, Recipe
from kgated.deploy.streaming import step_model
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.float_file import FloatFile
from kgated.deploy.verification import compare, float_stage
from kgated.errors import ConversionError

FEATURES, FRAMES = 5, 12
X_SHAPE = (12, FRAMES, FEATURES)
CELLS = [kgated.LSTM, kgated.PeepholeLSTM, kgated.GRU]


def float_and_samples(model, sequences, folder):
    """The float file that static recipes start from, what goes into it, its states as shared."""
    step = step_model(model, steps.affine)
    conversion = kgated.to_tflite(model, folder / "float.tflite", calibration=sequences)
    samples = record(
        EdgeModel(folder / "float.tflite"), [{"frame": sequence} for sequence in sequences]
    )
    content = embed(lower(step, Recipe()), conversion.manifest)
    return content, samples, [(name, name) for name in step.states]


def quantize(content, recipe, samples=(), shared=()):
    """The quantized file's bytes."""
    file = FloatFile.from_bytes(content)
    return flatbuffer.pack(quantize_model(file, recipe, samples, shared))


@pytest.fixture(scope="module")
def source_of(tmp_path_factory):
    """The float file of a classifier of a cell, its samples and shared; each made once."""
    sources = {}

    def source(layer):
        if layer not in sources:
            rng = np.random.default_rng(1)
            x = rng.normal(size=(12, FRAMES, FEATURES)).astype(np.float32)
            folder = tmp_path_factory.mktemp("float")
            sources[layer] = float_and_samples(spread(classifier(layer), rng), x, folder)
        return sources[layer]

    return source


def error_of(tflite, samples, float_file):
    """Mean error of the first output on samples, each from the float file's own state."""
    errors = []
    exact, rounded = (signature(content) for content in (float_file, tflite))
    for sample in samples:
        errors.append(np.abs(rounded(sample) - exact(sample)).mean())
    return np.mean(errors)


def signature(content):
    """From a sample in float32 to the output `output` in float32."""
    from ai_edge_quantizer.utils import tfl_interpreter_utils as tools

    interpreter = tools.create_tfl_interpreter(content, num_threads=1, preserve_all_tensors=False)
    details = interpreter.get_signature_runner().get_output_details()["output"]
    scale, zero = details["quantization"]

    def run(sample):
        output = tools.invoke_interpreter_signature(interpreter, sample)["output"]
        return (output.astype(np.float64) - zero) * scale if scale else output

    return run


def dtypes(content):
    model = flatbuffer.parse(content)
    return {flatbuffer.type_name(t) for subgraph in model.subgraphs for t in subgraph.tensors}


@pytest.mark.parametrize("name", list(QUANTIZATIONS)[1:])
@pytest.mark.parametrize("layer", CELLS, ids=lambda cell: cell.__name__)
def test_agrees_with_keras_on_carried_state(layer, name, rng, x, tmp_path):
    model = spread(classifier(layer), rng)
    path = tmp_path / "m.tflite"
    conversion = kgated.to_tflite(model, path, quantize=name, calibration=x)
    edge = EdgeModel(path)
    streamed = [edge.reset() or edge.run(sequence)[-1] for sequence in x]
    error = np.abs(np.asarray(model(x)) - streamed)
    assert 1e-6 < error.max() <= QUANTIZATIONS[name].limit / 2
    assert conversion.agreement.max_abs_error == pytest.approx(error.max(), abs=1e-5)
    assert conversion.agreement.rmse == pytest.approx(np.sqrt((error**2).mean()), abs=1e-5)


@pytest.mark.parametrize("name", ["int8", "int16x8"])
@pytest.mark.parametrize("layer", CELLS, ids=lambda cell: cell.__name__)
def test_static_files_are_integers_throughout(layer, name, source_of):
    source, samples, shared = source_of(layer)
    content = quantize(source, Recipe(quantize=name), samples, shared)
    assert "float32" not in dtypes(content)
    inputs, outputs = flatbuffer.signature(flatbuffer.parse(content))
    integer = {"int8": "int8", "int16x8": "int16"}[name]
    assert {flatbuffer.type_name(t) for t in (*inputs.values(), *outputs.values())} == {integer}


@pytest.mark.parametrize("name", ["int8", "int16x8"])
def test_a_state_has_the_same_scale_as_input_and_as_output(name, source_of):
    source, samples, shared = source_of(kgated.LSTM)

    def scales(content):
        inputs, outputs = flatbuffer.signature(flatbuffer.parse(content))
        params_of = flatbuffer.scale_and_zero_point
        return [(params_of(inputs[a]), params_of(outputs[b])) for a, b in shared]

    samples = samples[:1]  # a state that leaves zero: its ranges in and out differ
    equal = scales(quantize(source, Recipe(quantize=name), samples, shared))
    assert len(equal) == 2
    assert all(before == after is not None for before, after in equal)
    apart = scales(quantize(source, Recipe(quantize=name), samples, ()))
    assert any(before != after for before, after in apart)


@pytest.mark.parametrize(("name", "scale"), [("int8", 1 / 128), ("int16x8", 1 / 32768)])
def test_a_state_that_is_a_tanh_has_its_kernels_scale(name, scale, source_of):
    source, samples, shared = source_of(keras.layers.SimpleRNN)
    content = quantize(source, Recipe(quantize=name), samples, shared)
    inputs, outputs = flatbuffer.signature(flatbuffer.parse(content))
    for tensor in (inputs["cell_state0"], outputs["cell_state0"]):
        assert flatbuffer.scale_and_zero_point(tensor) == (scale, 0)


def test_activations_have_their_kernels_scales(source_of):
    source, samples, shared = source_of(kgated.LSTM)
    content = quantize(source, Recipe(quantize="int8"), samples, shared)
    fixed = {"TANH": (1 / 128, 0), "LOGISTIC": (1 / 256, -128), "SOFTMAX": (1 / 256, -128)}
    activations = [
        (name, flatbuffer.scale_and_zero_point(outputs[0]))
        for name, _, outputs in operators(content)
        if name in fixed
    ]
    assert {name for name, _ in activations} == set(fixed)
    assert all(quantized == fixed[name] for name, quantized in activations)


def test_weights_have_a_symmetric_scale_per_channel(source_of):
    source, samples, shared = source_of(kgated.LSTM)
    content = quantize(source, Recipe(quantize="int8"), samples, shared)
    weights = [inputs[1] for name, inputs, _ in operators(content) if name == "FULLY_CONNECTED"]
    for tensor in weights:
        assert len(tensor.quantization.scale) == tensor.shape[0]
        assert not np.any(tensor.quantization.zeroPoint)


def test_a_sequences_ranges_are_not_those_near_zero_states(source_of):
    source, samples, shared = source_of(kgated.LSTM)
    states = [name for name, _ in shared]
    near_zero = [{**s, **{name: s[name] / 20 for name in states}} for s in samples]
    recipe = Recipe(quantize="int8")
    real, wrong = (quantize(source, recipe, data, shared) for data in (samples, near_zero))
    assert error_of(wrong, samples, source) > 3 * error_of(real, samples, source)


def test_separate_products_keep_the_state_precise_with_large_frames(rng, x, tmp_path):
    model = spread(classifier(kgated.LSTM), rng)
    kernel = model.get_layer("cell").cell.kernel
    kernel.assign(kernel / 100)
    source, samples, shared = float_and_samples(model, 100 * x, tmp_path)
    concatenated = flatbuffer.pack(lower(step_model(model), Recipe()))
    apart, together = (
        quantize(file, Recipe(quantize="int8"), samples, shared) for file in (source, concatenated)
    )
    assert error_of(together, samples, source) > 2 * error_of(apart, samples, source)


@pytest.mark.parametrize(("name", "per_weight"), [("dynamic", 1.05), ("dynamic4", 0.55)])
@pytest.mark.parametrize("layer", CELLS, ids=lambda cell: cell.__name__)
def test_files_have_the_bytes_of_their_weights(layer, name, per_weight, rng, tmp_path):
    model = keras.models.clone_model(spread(classifier(layer, units=96, features=40), rng))
    # Without calibration: the manifest would hold the statistics of 40 features.
    conversion = kgated.to_tflite(model, tmp_path / "m.tflite", quantize=name)
    assert conversion.file_bytes <= 10 * 1024 + per_weight * model.count_params()


def test_float16_weights_are_half_the_size(rng, x, tmp_path):
    model = spread(classifier(kgated.GRU, units=64), rng)
    single, half = (
        kgated.to_tflite(model, tmp_path / f"{name}.tflite", quantize=name, calibration=x)
        for name in ("none", "float16")
    )
    matrices = sum(w.size for w in model.get_weights() if w.ndim == 2)
    assert single.file_bytes - half.file_bytes > 2 * matrices - 1024


def test_wrong_ranges_are_refused(rng, x, tmp_path, monkeypatch):
    def with_small_ranges(job):
        small = [{name: value / 10 for name, value in sample.items()} for sample in job.samples]
        return quantized_file(replace(job, samples=small))

    monkeypatch.setattr(float_stage, "quantize_in_worker", with_small_ranges)
    model = spread(classifier(kgated.LSTM), rng)
    with pytest.raises(
        ConversionError, match=r"broken: `frame` holds .* calibrated values lie outside"
    ):
        kgated.to_tflite(model, tmp_path / "m.tflite", quantize="int8", calibration=x)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "per_weight"), [("dynamic", 1.05), ("dynamic4", 0.55)])
def test_embeddings_are_quantized_too(name, per_weight, rng, tmp_path):
    tokens = rng.integers(400, size=(6, 12)).astype(np.int32)
    layers = [
        keras.Input((None,), dtype="int32"),
        keras.layers.Embedding(400, 48, embeddings_initializer="normal", name="words"),
        kgated.GRU(48, return_sequences=True),
        keras.layers.Dense(20, activation="softmax"),
    ]
    model = keras.Sequential(layers)
    words = model.get_layer("words")
    words.set_weights([w * 10 for w in words.get_weights()])
    path = tmp_path / "m.tflite"
    conversion = kgated.to_tflite(model, path, quantize=name, calibration=tokens)
    assert conversion.file_bytes <= 10 * 1024 + per_weight * model.count_params()
    assert conversion.agreement.max_abs_error > 1e-6
    (table,) = [i[1] for kind, i, _ in operators(path.read_bytes()) if kind == "EMBEDDING_LOOKUP"]
    assert flatbuffer.type_name(table) == {"dynamic": "int8", "dynamic4": "int4"}[name]
    kgated.to_tflite(model, path, quantize=name, skip=["words"], calibration=tokens)
    (table,) = [i[1] for kind, i, _ in operators(path.read_bytes()) if kind == "EMBEDDING_LOOKUP"]
    assert flatbuffer.type_name(table) == "float32"


def test_each_output_is_judged_by_its_own_scale(rng, x, tmp_path, monkeypatch, lower_with):
    frames = keras.Input((None, FEATURES))
    hidden = kgated.GRU(8)(frames)
    loud = keras.layers.Dense(2, name="loud")(hidden)
    soft = keras.layers.Dense(2, activation="softmax", name="soft")(hidden)
    model = keras.Model(frames, [loud, soft])
    model.get_layer("loud").kernel.assign(1000 * rng.normal(size=(8, 2)))
    path = tmp_path / "m.tflite"
    agreements = kgated.to_tflite(model, path, quantize="dynamic", calibration=x).outputs
    assert set(agreements) == {"loud", "soft"}
    assert agreements["loud"].largest_output > 100 * agreements["soft"].largest_output
    lower_with(model.get_layer("soft").bias, [0.0, 2.0])
    monkeypatch.setattr(compare, "replay_golden", lambda path: agreements["loud"])
    with pytest.raises(ConversionError, match="output `soft`"):
        kgated.to_tflite(model, path, quantize="dynamic", calibration=x)


def test_the_other_process_gives_the_same_file_and_the_same_refusals(source_of):
    source, samples, shared = source_of(kgated.GRU)
    recipe, layers = Recipe(quantize="int8"), FloatFile.from_bytes(source).layers
    job = QuantizationJob(source, layers, recipe, samples, shared)
    assert quantize_in_worker(job) == quantized_file(job)
    with pytest.raises(ConversionError, match="nobody"):
        quantize_in_worker(replace(job, recipe=Recipe(quantize="int8", skip=("nobody",))))


def test_a_gru_that_saturates_runs_in_16_bits(tmp_path):
    # h - g reaches 2, whose scale is a power of two: LiteRT's SUB then wants an unshifted operand.
    rng = np.random.default_rng(0)
    x = 8.0 * np.sign(rng.normal(size=(8, 40, 2))).astype(np.float32)
    model = keras.Sequential([keras.Input((None, 2)), kgated.GRU(4)])
    model.set_weights([3.0 * rng.normal(size=w.shape) for w in model.get_weights()])
    conversion = kgated.to_tflite(model, tmp_path / "m.tflite", quantize="int16x8", calibration=x)
    assert conversion.agreement.max_abs_error < 0.002


def test_4_bits_do_not_mix_up_the_rows_of_an_embedding_with_odd_rows(tmp_path, rng):
    tokens = keras.Input((None,), dtype="int32")
    model = keras.Model(tokens, keras.layers.Embedding(8, 3)(tokens))
    x = rng.integers(0, 8, (4, 12)).astype(np.int32)
    path = tmp_path / "tokens.tflite"
    kgated.to_tflite(model, path, mode="stream", quantize="dynamic4", calibration=x)
    expected = model.predict(x, verbose=0)[0]
    np.testing.assert_allclose(EdgeModel(path).run(x[0]), expected, atol=0.001)
