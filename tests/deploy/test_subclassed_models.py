"""Subclassed models: converted where `call` takes symbolic inputs, else refused with an example."""

import keras
import numpy as np
import pytest
from kgated_edge import EdgeModel, SequenceModel
from refusals import assert_refused

import kgated
from kgated.keras_internals.subclassed_models import as_functional

L, ops = keras.layers, keras.ops
F, T = 5, 8
EXAMPLE = r"keras\.Input\(\(None, features\)\); keras\.Model\(x, model\(x\)\)"


class Tagger(keras.Model):
    """A scale of its own, nested models and `training`, as people write them."""

    def __init__(self, **options):
        super().__init__(**options)
        self.first = kgated.LSTM(4, return_sequences=True)
        self.inner = keras.Sequential([L.Dense(6, "relu"), L.Dropout(0.5)])
        self.rest = [L.GRU(3, return_sequences=True), L.Dense(2)]

    def call(self, x, training):
        x = self.first(x, training=training)
        x = x if training else 2.0 * self.inner(x, training=training)
        for layer in self.rest:
            x = layer(x)
        return x


class FixedBatch(Tagger):
    """Needs the size of the batch."""

    def call(self, x, training=None):
        return super().call(x, training) + ops.zeros((x.shape[0], 1, 2))


class FromDictionary(Tagger):
    def call(self, inputs, training=False):
        return {"tags": super().call(inputs["frames"], training)}


class Tokens(keras.Model):
    def __init__(self):
        super().__init__()
        self.layers_in_order = [L.Embedding(7, 4, mask_zero=True), L.LSTM(3), L.Dense(2)]

    def call(self, x):
        for layer in self.layers_in_order:
            x = layer(x)
        return x


class OnValues(Tagger):
    def call(self, x, training=False):
        return super().call(x if ops.max(x) > 0 else -x, training)


class TakesTheValues(Tagger):
    """Its graph would have the numbers of another call."""

    def call(self, x, training=False):
        scale = 1.0 if isinstance(x, keras.KerasTensor) else 2.0
        return scale * super().call(x, training)


def called(kind, *shape):
    model = kind()
    model(np.zeros(shape or (2, T, F), np.float32), training=False)
    return model


@pytest.fixture
def x(rng):
    return rng.normal(size=(4, T, F)).astype(np.float32)


def expected(model, x):
    return np.asarray(model(x, training=False))


@pytest.mark.parametrize("kind", [Tagger, FixedBatch])
def test_a_model_that_was_called_streams_as_in_keras(kind, x, tmp_path):
    model = called(kind, 1, T, F)
    kgated.to_tflite(model, tmp_path / "m.tflite")
    edge = EdgeModel(tmp_path / "m.tflite")
    steps = np.stack([edge.step(frame) for frame in x[0]])
    np.testing.assert_allclose(steps, expected(model, x[:1])[0], atol=1e-5)


@pytest.mark.filterwarnings("ignore:`build..` was called on layer")
def test_a_model_that_was_built_converts_as_a_sequence_in_integers(x, tmp_path):
    model, path = Tagger(), tmp_path / "m.tflite"
    model.build((None, None, F))
    options = {"mode": "sequence", "length": T, "quantize": "int8"}
    kgated.to_tflite(model, path, calibration=x, **options)
    error = np.abs(SequenceModel(path).run(x[0]) - expected(model, x)[0])
    assert error.max() < 0.05
    assert np.abs(expected(model, x)).max() > 0.1


def test_inputs_and_results_keep_their_names(x, tmp_path):
    model = FromDictionary()
    model({"frames": x})
    assert list(as_functional(model).input) == ["frames"]
    kgated.to_tflite(model, tmp_path / "m.tflite", mode="sequence", length=T)
    result = SequenceModel(tmp_path / "m.tflite").run(x[0])
    np.testing.assert_allclose(result, np.asarray(model({"frames": x})["tags"])[0], atol=1e-5)


class WithConstant(Tagger):
    def call(self, inputs, training=False):
        frames, vector = inputs
        return super().call(frames, training) + ops.expand_dims(vector, 1)


def test_an_input_per_sequence_keeps_its_size():
    model = WithConstant()
    model([np.zeros((2, T, F), np.float32), np.zeros((2, 2), np.float32)])
    shapes = [tuple(x.shape) for x in as_functional(model).inputs]
    assert shapes == [(None, None, F), (None, 2)]


def test_tokens_convert(tmp_path):
    model, ids = Tokens(), np.array([[3, 1, 6, 2, 0, 0]], np.int32)
    model(ids)
    kgated.to_tflite(model, tmp_path / "m.tflite", mode="sequence", length=ids.shape[1])
    result = SequenceModel(tmp_path / "m.tflite").run(ids[0])
    np.testing.assert_allclose(result, np.asarray(model(ids))[0], atol=1e-5)


def test_training_in_integers_takes_one_and_keeps_its_dropout(x, tmp_path):
    model = called(Rated)
    qat = kgated.quantize_aware(model, warmup=1)
    qat.compile("sgd", "mse")
    qat.fit(x, expected(model, x), verbose=0)
    assert not np.allclose(qat(x, training=True), qat(x, training=True))
    kgated.to_tflite(qat, tmp_path / "m.tflite", quantize="int8")


class Rated(keras.Model):
    def __init__(self):
        super().__init__()
        self.cell, self.drop = kgated.LSTM(4, return_sequences=True), L.Dropout(0.5)
        self.dense = L.Dense(2)

    def call(self, x, training=None):
        return self.dense(self.drop(self.cell(x), training=training))


def test_prune_and_cluster_take_one():
    model = called(Tagger)
    kgated.prune(model, kgated.optimize.ConstantSparsity(0.5, 0))
    kgated.cluster(model, 2)
    for weight in (w for w in model.weights if "kernel" in w.name):
        assert len(np.unique(keras.ops.convert_to_numpy(weight))) <= 2


@pytest.mark.parametrize("kind", [OnValues, TakesTheValues])
def test_what_depends_on_values_is_refused_with_the_example(kind, tmp_path):
    model, path = called(kind), tmp_path / "m.tflite"
    reason = (
        "the results of its layers are not those"
        if kind is TakesTheValues
        else "on symbolic inputs"
    )
    pattern = rf"`{model.name}` is a subclass .*{reason}.*{EXAMPLE}"
    assert_refused(lambda: kgated.to_tflite(model, path), pattern)
    assert_refused(lambda: kgated.quantize_aware(model), pattern)


@pytest.mark.parametrize("kind", [Tagger, OnValues])
def test_one_that_was_never_called_is_refused_with_the_example(kind, tmp_path):
    path = tmp_path / "m.tflite"
    assert_refused(lambda: kgated.to_tflite(kind(), path), rf"without a graph.*{EXAMPLE}")
    assert_refused(lambda: kgated.quantize_aware(kind()), rf"must be .* built.*{EXAMPLE}")
