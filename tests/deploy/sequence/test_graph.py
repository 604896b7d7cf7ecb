"""Whole sequences: the file against Keras, every lowering, padding, and what is refused."""

import graphs
import keras
import numpy as np
import pytest
import registry
from kgated_edge import EdgeModel, SequenceData, SequenceModel
from model_builders import sequential, spread

import kgated
from kgated.deploy.recipe import Recipe
from kgated.deploy.sequence.graph import sequence_model
from kgated.deploy.sequence.lowering_choice import choose_lowering
from kgated.deploy.sequence.rnn import Lowering
from kgated.deploy.tflite import flatbuffer
from kgated.errors import ConversionError

T, F = 9, 5
X_SHAPE = (4, T, F)
L = keras.layers


def embedded(batch):
    tokens = keras.Input(batch_shape=(batch, T), dtype="int32")
    return keras.Sequential([tokens, L.Embedding(11, 6, mask_zero=True), L.LSTM(8), L.Dense(3)])


STOCK = {
    "LSTM": lambda b: sequential(L.LSTM(8), L.Dense(3), shape=(T, F), batch=b),
    "GRU": lambda b: sequential(L.GRU(8), L.Dense(3), shape=(T, F), batch=b),
    "GRU-reset-before": lambda b: sequential(L.GRU(8, reset_after=False), shape=(T, F), batch=b),
    "LSTM-sequences": lambda b: sequential(L.LSTM(8, return_sequences=True), shape=(T, F), batch=b),
    "Bidirectional": lambda b: sequential(L.Bidirectional(L.LSTM(8)), shape=(T, F), batch=b),
    "two-LSTM": lambda b: sequential(
        L.LSTM(8, return_sequences=True), L.LSTM(8), shape=(T, F), batch=b
    ),
    "masked-Embedding": embedded,
}


# Each model with two quantizations, one of them on a batch of 1.
STOCK_CASES = [
    (name, ["none", "dynamic", "int8"][(n + k) % 3], [None, 1][(n + k) % 2])
    for n, name in enumerate(STOCK)
    for k in range(2)
]


@pytest.mark.parametrize(("name", "quantize", "batch"), STOCK_CASES)
def test_every_stock_model_converts(name, quantize, batch, x, rng, tmp_path):
    model = spread(STOCK[name](batch), rng)
    if name == "masked-Embedding":
        x = rng.integers(1, 11, (4, T)).astype(np.int32)
        x[1:, 5:] = 0
    path = tmp_path / "m.tflite"
    kgated.to_tflite(model, path, mode="sequence", quantize=quantize, calibration=x)
    expected = np.concatenate([model(sequence[None], training=False) for sequence in x])
    results = np.stack([SequenceModel(path).run(sequence) for sequence in x])
    limit = {"none": 1e-5, "dynamic": 0.05, "int8": 0.15}[quantize]
    assert np.abs(results - expected).max() <= limit
    assert np.abs(results - expected[::-1]).max() > limit


@pytest.mark.parametrize("row", registry.ROWS, ids=str)
def test_every_cell_in_either_lowering(row, rng, tmp_path):
    """The file of one lowering by turns, and the graph of the other for each third row."""
    layer = row.build(rng, return_sequences=True)
    model = keras.Sequential([keras.Input((None, registry.FEATURES)), layer])
    path, turn = tmp_path / "m.tflite", registry.ROWS.index(row) % 2
    kgated.to_tflite(model, path, mode="sequence", length=7, lowering=graphs.LOWERINGS[turn])
    frames = rng.normal(size=(7, registry.FEATURES)).astype(np.float32)
    result, (expected,) = SequenceModel(path).run(frames), graphs.predict(model, [frames[None]])
    np.testing.assert_allclose(result, expected[0], atol=2e-5)
    if registry.ROWS.index(row) % 3:
        return
    (result,) = graphs.run_sequence(model, [frames[None]], graphs.LOWERINGS[1 - turn])
    np.testing.assert_allclose(result, expected, atol=2e-5)


def convertible():
    both = L.Bidirectional(kgated.GRU(4, return_sequences=True), merge_mode="sum")
    state = keras.Input((None, F))
    last, h, c = kgated.LSTM(4, return_state=True)(state)
    after = kgated.LSTM(4, return_sequences=True)(state, initial_state=[h, c])
    skip = keras.Input((None, F))
    deep = L.GRU(F, return_sequences=True)(L.Conv1D(F, 3, padding="same")(skip))
    yield "backwards", sequential(kgated.PeepholeLSTM(4, go_backwards=True, return_sequences=True))
    yield "both-ways-stacked", sequential(both, L.Bidirectional(L.LSTM(3)), L.Dense(2))
    yield "cells", sequential(L.RNN([L.SimpleRNNCell(4), L.LSTMCell(6)], return_sequences=True))
    yield "encoder", keras.Model(state, L.Concatenate()([after, L.RepeatVector(T)(last)]))
    yield "residual", keras.Model(skip, L.GlobalMaxPooling1D()(L.Add()([skip, deep])))
    yield (
        "flat",
        sequential(L.LSTM(4, return_sequences=True), L.Flatten(), L.Dense(2), shape=(T, F)),
    )
    yield "nested", sequential(sequential(L.GRU(4, return_sequences=True)), L.LSTM(3))


MODELS = dict(convertible())


@pytest.mark.parametrize("lowering", ["unrolled", "while"])
@pytest.mark.parametrize("name", MODELS)
def test_models_equal_keras_in_either_lowering(name, lowering, x, rng, tmp_path):
    model, path = spread(MODELS[name], rng), tmp_path / "m.tflite"
    kgated.to_tflite(model, path, mode="sequence", length=T, lowering=lowering)
    expected = np.asarray(model(x, training=False))
    results = np.stack([SequenceModel(path).run(sequence) for sequence in x])
    np.testing.assert_allclose(results, expected, atol=2e-5)
    assert np.abs(results - np.asarray(model(x[:, ::-1], training=False))).max() > 1e-3


@pytest.mark.parametrize("lowering", ["unrolled", "while"])
@pytest.mark.parametrize("masked", [False, True], ids=["plain", "Masking"])
def test_padding_changes_nothing(masked, lowering, x, rng, tmp_path):
    layers = [L.Masking()] if masked else []
    both = L.Bidirectional(kgated.LSTM(4, return_sequences=True))
    pooled = [both, L.BatchNormalization(), kgated.GRU(6, return_sequences=True)]
    model = spread(sequential(*layers, *pooled, L.GlobalAveragePooling1D()), rng)
    path = tmp_path / "m.tflite"
    kgated.to_tflite(model, path, mode="sequence", max_length=T, lowering=lowering)
    edge = SequenceModel(path)
    for length in (1, 4, T):
        expected = np.asarray(model(x[:1, :length], training=False))[0]
        np.testing.assert_allclose(edge.run(x[0, :length]), expected, atol=2e-5)
    fed = edge._binding.inputs["frames"]
    edge.run(x[0, :4])
    before = edge._read()
    fed[4:] = 1e3  # what stands behind the last real frame
    edge._binding.interpreter.invoke()
    np.testing.assert_array_equal(edge._read(), before)


def test_masked_padding_in_integers(rng, tmp_path):
    model = spread(sequential(L.Bidirectional(L.LSTM(4)), L.Dense(2)), rng)
    path, x = tmp_path / "m.tflite", rng.normal(size=(24, T, F)).astype(np.float32)
    data = SequenceData(x, rng.integers(2, T + 1, size=24))
    kgated.to_tflite(model, path, mode="sequence", quantize="int8", max_length=T, calibration=data)
    edge = SequenceModel(path)
    for length in range(2, T + 1):  # a call of Keras for all sequences of one length
        (rows,) = np.nonzero(data.lengths == length)
        expected = np.asarray(model(x[rows, :length], training=False))
        results = np.stack([edge.run(sequence[:length]) for sequence in x[rows]])
        assert np.abs(results - expected).max() < 0.1


@pytest.mark.parametrize("length", [1, 4, 38])
def test_loops_of_any_length_share_one_body(length, rng, tmp_path):
    model = spread(sequential(kgated.LSTM(4, return_sequences=True)), rng)
    path = tmp_path / "m.tflite"
    kgated.to_tflite(model, path, mode="sequence", length=length, lowering="while")
    frames = rng.normal(size=(length, F)).astype(np.float32)
    result = SequenceModel(path).run(frames)
    np.testing.assert_allclose(result, model(frames[None])[0], atol=2e-5)
    subgraphs = flatbuffer.parse(path.read_bytes()).subgraphs
    kinds = {n // 4 for n in (min(length, 32), length % 32) if n >= 4}
    assert len(subgraphs) == 1 + 2 * len(kinds)  # a condition and a body for each size of stretch


def test_a_sequence_file_equals_the_stream(x, rng, tmp_path):
    model = spread(sequential(kgated.PeepholeLSTM(8, return_sequences=True), L.Dense(3)), rng)
    kgated.to_tflite(model, tmp_path / "stream.tflite", quantize="dynamic")
    kgated.to_tflite(
        model, tmp_path / "whole.tflite", mode="sequence", length=T, quantize="dynamic"
    )
    streamed = EdgeModel(tmp_path / "stream.tflite").run(x[0])
    assert np.abs(streamed - SequenceModel(tmp_path / "whole.tflite").run(x[0])).max() < 0.02


def test_auto_takes_the_loop_where_weights_or_graph_would_be_too_large():
    def chosen(quantize, units, steps):
        model = sequential(kgated.LSTM(units))
        return choose_lowering(Recipe("sequence", quantize), model, steps, False).lowering

    assert [chosen("dynamic", 4, steps) for steps in (T, 10**6)] == ["unrolled", "while"]
    assert [chosen("dynamic", 128, steps) for steps in (80, 120)] == ["unrolled", "while"]
    assert [chosen("none", 4, steps) for steps in (60, 100, 1000, 3600)] == [
        "unrolled",
        *["while"] * 3,
    ]
    assert [chosen("none", 32, steps) for steps in (150, 300)] == ["unrolled", "while"]
    assert [chosen("int8", 4, steps) for steps in (64, 65)] == ["unrolled", "while"]
    assert [chosen("int8", 128, steps) for steps in (32, 64)] == ["unrolled", "while"]


@pytest.mark.parametrize(
    ("layers", "lowering"),
    [
        ([L.LSTM(4)], "fused"),
        ([kgated.LSTM(4, return_sequences=True), L.LSTM(3)], "fused"),
        ([L.Bidirectional(L.LSTM(4))], "fused"),
        ([kgated.LSTM(4, coupled_gates=True)], "unrolled"),
        ([kgated.PeepholeLSTM(4)], "unrolled"),
        ([L.LSTM(4, return_sequences=True), L.GRU(3)], "unrolled"),
        ([L.LSTM(4, activation="relu")], "unrolled"),
        ([L.Masking(), L.LSTM(4)], "unrolled"),
    ],
)
def test_auto_takes_the_operator_of_a_microcontroller(layers, lowering):
    recipe = Recipe("sequence", "int8", target="mcu")
    assert choose_lowering(recipe, sequential(*layers), T, False).lowering == lowering


def test_skip_reaches_into_the_loop(x, rng, tmp_path):
    model = spread(sequential(kgated.LSTM(8, name="kept"), L.Dense(3, name="head")), rng)
    sizes = []
    for skip in ((), ("kept",)):
        path = tmp_path / f"{len(skip)}.tflite"
        kgated.to_tflite(
            model, path, mode="sequence", length=T, lowering="while", quantize="dynamic", skip=skip
        )
        model_objects = flatbuffer.parse(path.read_bytes())
        types = [flatbuffer.type_name(t) for g in model_objects.subgraphs for t in g.tensors]
        sizes.append(types.count("int8"))
    assert sizes[0] > sizes[1] >= 1


REFUSED = [
    ({"length": 0}, "`length` must be an integer of at least 1. Received: 0"),
    ({"max_length": 2.5}, "`max_length` must be an integer"),
    ({"length": 3, "max_length": 4}, "exclude each other"),
    ({}, "any length: give `length`, or `max_length`"),
    ({"length": 3, "lowering": "magic"}, "`lowering` must be one of"),
    ({"length": 3, "state": "internal"}, "a sequence keeps no state"),
    ({"length": 3, "quantize": "int8", "lowering": "while", "target": "mcu"}, "takes no loops"),
    ({"length": 300, "quantize": "int16x8", "target": "mcu"}, "too many above 256"),
    ({"mode": "stream", "length": 3}, "are for `mode='sequence'`"),
    ({"mode": "stream", "lowering": "while"}, "is for `mode='sequence'`"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_options_that_contradict_each_other_are_refused(options, message, x, tmp_path):
    path = tmp_path / "m.tflite"
    with pytest.raises(ValueError, match=message):
        kgated.to_tflite(
            sequential(kgated.LSTM(3)), path, **{"mode": "sequence", "calibration": x, **options}
        )
    assert not path.exists()


def test_padding_is_refused_where_layers_would_see_it(tmp_path):
    model = sequential(L.Conv1D(4, 3, padding="same", name="wide"), kgated.LSTM(3))
    with pytest.raises(ConversionError, match=r"`wide` \(Conv1D\) may see padding.*`length`"):
        kgated.to_tflite(model, tmp_path / "m.tflite", mode="sequence", max_length=T)


def test_calibration_shorter_than_the_sequence(x, tmp_path):
    with pytest.raises(ValueError, match="sequences of 20 frames or more"):
        kgated.to_tflite(
            sequential(kgated.LSTM(3)),
            tmp_path / "m.tflite",
            mode="sequence",
            length=20,
            calibration=x,
        )


def test_results_in_reverse_order_and_padding_exclude_each_other():
    layer = keras.layers.GRU(3, go_backwards=True, return_sequences=True)
    model = keras.Sequential([keras.Input((None, 4)), layer])
    sequence_model(model, Lowering("unrolled"), length=5)
    with pytest.raises(ConversionError, match=r"reverse order.*`length`"):
        sequence_model(model, Lowering("unrolled"), max_length=5)
