"""Loops of whole sequences in integers."""

import numpy as np
import pytest
from keras import layers as L  # noqa: N812
from kgated_edge import SequenceModel
from model_builders import sequential
from registry import randomized

import kgated
from kgated.deploy.quantization.loops.loop_check import check_loop_operands
from kgated.deploy.recipe import QUANTIZATIONS
from kgated.deploy.tflite import flatbuffer
from kgated.errors import ConversionError

F = 5
LONG = 42  # a stretch of 32 steps, one of 8, and 2 that are written out
T = 10  # a stretch of 8, and 2 that are written out
MODELS = {
    "two layers": lambda: [kgated.PeepholeLSTM(6, return_sequences=True), L.GRU(5), L.Dense(3)],
    "both ways": lambda: [L.Bidirectional(L.LSTM(4, return_sequences=True)), L.Dense(3)],
    "masked": lambda: [L.Masking(), kgated.GRU(6), L.Dense(3)],
    "normalized": lambda: [kgated.LSTM(6, layer_norm=True, return_sequences=True)],
}


LOOPS = {"mode": "sequence", "lowering": "while"}


def frames_of(rng, length=T):
    frames = rng.normal(size=(8, length, F)).astype(np.float32)
    frames[:, 5:8] = 0.0  # masked where there are masks, and silence where not
    return frames


@pytest.fixture
def x(rng):
    return frames_of(rng)


@pytest.fixture(scope="module")
def long_loops(tmp_path_factory):
    """Two layers in int8 over the long sequence: the model, its frames and its file."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("loops") / "m.tflite"
    model, x = randomized(sequential(*MODELS["two layers"]()), rng), frames_of(rng, LONG)
    kgated.to_tflite(model, path, length=LONG, calibration=x, quantize="int8", **LOOPS)
    return model, x, path


def tensors(model):
    return [tensor for graph in model.subgraphs for tensor in graph.tensors]


def check_loops(model, x, path, quantize, float_tensors=0):
    expected, edge = np.asarray(model(x)), SequenceModel(path)
    error = np.abs(np.stack([edge.run(sequence) for sequence in x]) - expected)
    assert error.max() <= QUANTIZATIONS[quantize].limit / 2 * max(1.0, np.abs(expected).max())
    parsed = flatbuffer.parse(path.read_bytes())
    floats = [t for t in tensors(parsed) if flatbuffer.type_name(t) == "float32"]
    assert len(floats) == float_tensors
    names = [flatbuffer.operator_name(parsed, o) for _, o in flatbuffer.operators(parsed)]
    assert "WHILE" in names


@pytest.mark.parametrize("quantize", ["int8", "int16x8"])
@pytest.mark.parametrize("name", MODELS)
def test_integer_loops_agree_with_keras(name, quantize, x, rng, tmp_path):
    model, path = randomized(sequential(*MODELS[name]()), rng), tmp_path / "m.tflite"
    kgated.to_tflite(model, path, length=T, calibration=x, quantize=quantize, **LOOPS)
    # A mask asks for exact zeros, of the frames as they were.
    check_loops(model, x, path, quantize, float_tensors=2 if name == "masked" else 0)


def test_loops_of_several_stretches_agree_with_keras(long_loops):
    check_loops(*long_loops, "int8")


@pytest.mark.slow
def test_long_sequences_take_a_loop_whose_error_does_not_grow(rng, tmp_path):
    model, path = (
        randomized(sequential(kgated.GRU(6, return_sequences=True)), rng),
        tmp_path / "m.tflite",
    )
    x = rng.normal(size=(4, 300, F)).astype(np.float32)
    options = {"mode": "sequence", "length": 300, "quantize": "int8"}
    conversion = kgated.to_tflite(model, path, calibration=x, **options)
    assert conversion.manifest.recipe["lowering"] == "while"
    error = np.abs(SequenceModel(path).run(x[0]) - np.asarray(model(x[:1]))[0]).mean(-1)
    assert error[-100:].mean() < 2.0 * error[:100].mean()
    assert conversion.file_bytes < 60_000


def test_padding_changes_nothing_in_an_integer_loop(x, rng, tmp_path):
    model, path = randomized(sequential(kgated.LSTM(6), L.Dense(3)), rng), tmp_path / "m.tflite"
    kgated.to_tflite(model, path, max_length=T, calibration=x, quantize="int8", **LOOPS)
    edge = SequenceModel(path)
    for length in (1, 7, 9, T):
        expected = np.asarray(model(x[:1, :length]))[0]
        assert np.abs(edge.run(x[0, :length]) - expected).max() < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("skipped", ["first", "second", "head"])
def test_a_skipped_layer_stays_in_float_in_a_file_with_loops(skipped, x, rng, tmp_path):
    layers = [kgated.LSTM(6, return_sequences=True, name="first"), L.GRU(5, name="second")]
    model, path = (
        randomized(sequential(*layers, L.Dense(3, name="head")), rng),
        tmp_path / "m.tflite",
    )
    options = {"quantize": "int8", "skip": [skipped], **LOOPS}
    kgated.to_tflite(model, path, length=T, calibration=x, **options)
    error = np.abs(SequenceModel(path).run(x[0]) - np.asarray(model(x[:1]))[0])
    assert error.max() < 0.15
    parsed = flatbuffer.parse(path.read_bytes())
    types = [flatbuffer.type_name(t) for t in tensors(parsed)]
    assert types.count("int8") > 20
    assert types.count("float32") > (1 if skipped == "head" else 20)


def test_a_loop_body_returns_states_with_the_quantization_that_it_takes(long_loops):
    _, _, path = long_loops
    parsed = flatbuffer.parse(path.read_bytes())
    loops = [
        (graph, operator)
        for graph, operator in flatbuffer.operators(parsed)
        if flatbuffer.operator_name(parsed, operator) == "WHILE"
    ]
    assert len(loops) == 3  # two stretches of the first layer, one run of the second
    check_loop_operands(parsed)
    for graph, loop in loops:
        kinds = {flatbuffer.type_name(graph.tensors[n]) for n in loop.inputs}
        assert kinds == {"int32", "int8"}


@pytest.mark.parametrize("side", ["inputs", "outputs"])
@pytest.mark.parametrize("place", ["loop", "body"])
def test_a_loop_with_a_state_of_another_scale_is_refused(place, side, long_loops):
    _, _, path = long_loops
    parsed = flatbuffer.parse(path.read_bytes())
    graph, loop = next(
        pair
        for pair in flatbuffer.operators(parsed)
        if flatbuffer.operator_name(parsed, pair[1]) == "WHILE"
    )
    body = parsed.subgraphs[loop.builtinOptions.bodySubgraphIndex]
    owner, ends = (graph, loop) if place == "loop" else (body, body)
    tensors = [owner.tensors[n] for n in getattr(ends, side)]
    state = next(x for x in tensors if flatbuffer.type_name(x) == "int8")
    state.quantization.scale = 1.5 * np.asarray(state.quantization.scale)
    with pytest.raises(ConversionError, match=r"loop is broken.*scale.*unrolled"):
        check_loop_operands(parsed)
