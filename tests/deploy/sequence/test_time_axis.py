"""What has time is found by the layers, not by a size that happens to be the same."""

import graphs
import keras
import numpy as np
import pytest
from kgated_edge import SequenceModel
from streams import randomize

import kgated
from kgated.deploy.sequence.graph import sequence_model
from kgated.deploy.sequence.inputs import inputs_of
from kgated.deploy.sequence.rnn import Lowering

L = keras.layers
T, F = 7, 3
UNROLLED = Lowering("unrolled")


def after_encoder(*layers, length=None):
    return keras.Sequential([keras.Input((length, F)), L.GRU(5), *layers])


HEADS = {
    "decoder": lambda: [L.RepeatVector(T), L.LSTM(4, return_sequences=True)],
    "last of a decoder": lambda: [L.RepeatVector(T), L.Bidirectional(L.GRU(2))],
    "table": lambda: [L.Dense(2 * T), L.Reshape((T, 2))],
    "mean of a table": lambda: [L.Dense(2 * T), L.Reshape((T, 2)), L.GlobalAveragePooling1D()],
    "maximum of a table": lambda: [L.Dense(2 * T), L.Reshape((T, 2)), L.GlobalMaxPooling1D()],
    "convolution of a table": lambda: [L.Dense(2 * T), L.Reshape((T, 2)), L.Conv1D(3, 3)],
}


@pytest.mark.parametrize("name", HEADS)
def test_a_tensor_without_time_is_whole_at_every_length(name, rng):
    model = randomize(after_encoder(*HEADS[name]()), rng)
    assert sequence_model(model, UNROLLED, max_length=T).single == ("output",)
    assert sequence_model(model, UNROLLED, length=T).single == ("output",)
    for length in (1, 4, T):
        x = rng.normal(size=(1, length, F)).astype(np.float32)
        results = graphs.run_sequence(model, [x], max_length=T)
        graphs.assert_close(results, graphs.predict(model, [x]))


def test_a_file_of_a_decoder_has_all_its_rows(rng, tmp_path):
    model, path = randomize(after_encoder(*HEADS["decoder"]()), rng), tmp_path / "m.tflite"
    kgated.to_tflite(model, path, mode="sequence", max_length=T)
    x = rng.normal(size=(1, 3, F)).astype(np.float32)
    np.testing.assert_allclose(
        SequenceModel(path).run(x[0]), graphs.predict(model, [x])[0][0], atol=1e-4
    )


def test_outputs_of_fixed_length_models_have_time_where_more_frames_give_more_rows():
    x = keras.Input((T, F))
    each = L.GRU(4, return_sequences=True)(x)
    outputs = {
        "each": L.Dense(2)(each),
        "decoded": L.RepeatVector(T)(L.LSTM(2)(each)),
        "table": L.Reshape((T, 2))(L.Dense(2 * T)(L.Flatten()(each))),
        "halved": L.AveragePooling1D(2)(each),
    }
    graph = sequence_model(keras.Model(x, outputs), UNROLLED)
    assert set(graph.single) == {"decoded", "table", "halved"}


def test_padded_maximum_ignores_padding_of_any_sign(rng):
    """The graph is padded by values above those of all frames."""
    x = keras.Input((None, F))
    model = keras.Model(x, L.GlobalMaxPooling1D()(L.Rescaling(1.0)(x)))
    frames = rng.normal(size=(1, 4, F)).astype(np.float32) - 5
    results = graphs.run_sequence(model, [frames], max_length=T)
    graphs.assert_close(results, [frames.max(axis=1)])


def timed(model):
    inputs, size = inputs_of(model)
    return [x.name for x in inputs if x.is_timed], size


def test_inputs_of_one_length_have_time_unless_layers_need_the_length():
    def build(first, second, combine):
        a, b = keras.Input(first, name="a"), keras.Input(second, name="b")
        return keras.Model([a, b], combine(a, b))

    def memory(a, b):
        return L.Concatenate()([L.GRU(2)(a), L.Dense(2)(L.Flatten()(b))])

    assert timed(build((T, F), (T, 2), memory)) == (["a"], T)
    assert timed(build((T, 2), (T, F), lambda a, b: memory(b, a))) == (["b"], T)
    assert timed(build((4, 2), (T, F), lambda a, b: memory(b, a))) == (["b"], T)
    shared = L.LSTM(2)
    siamese = build((T, F), (T, F), lambda a, b: L.Add()([shared(a), shared(b)]))
    assert timed(siamese) == (["a", "b"], T)
    concatenated = build((T, F), (T, 2), lambda a, b: L.GRU(2)(L.Concatenate()([a, b])))
    assert timed(concatenated) == (["a", "b"], T)
    assert timed(build((None, F), (T, 2), memory)) == (["a"], None)


def test_a_memory_as_long_as_the_frames_is_not_padded(rng):
    a, b = keras.Input((T, F), name="a"), keras.Input((T, 2), name="b")
    features = L.Concatenate()([L.GRU(2)(a), L.Dense(2)(L.Flatten()(b))])
    model = randomize(keras.Model([a, b], features), rng)
    free = keras.Input((None, F))
    reference = keras.Model(
        [free, b], model.layers[-1]([model.layers[-3](free), model.layers[-2].output])
    )
    arrays = [rng.normal(size=(1, n, f)).astype(np.float32) for n, f in ((4, F), (T, 2))]
    results = graphs.run_sequence(model, arrays, max_length=T)
    graphs.assert_close(results, graphs.predict(reference, arrays))


@pytest.mark.parametrize("units", [T, T + 1])
def test_a_column_is_added_to_frames_where_both_axes_have_one_size(units, rng, tmp_path):
    """Keras adds (1, T, 1) along the wrong axis of (1, T, T)."""
    x = keras.Input((T, F))
    hidden = L.Dense(units)(x)
    model = randomize(keras.Model(x, L.GRU(2)(L.Add()([hidden, L.Dense(1)(x)]))), rng)
    kgated.to_tflite(model, tmp_path / "m.tflite", mode="sequence")
    frames = rng.normal(size=(1, T, F)).astype(np.float32)
    result = SequenceModel(tmp_path / "m.tflite").run(frames[0])
    graphs.assert_close([result[None]], graphs.predict(model, [frames]))
