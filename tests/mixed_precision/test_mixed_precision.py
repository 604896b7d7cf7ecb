"""Sensitivity, the mixed recipe and `kgated optimize`, on a model with one fragile layer."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest
from kgated_edge import EdgeModel, SequenceData

import kgated
import kgated_cli
from kgated.data import save_npz
from kgated.deploy import Recipe
from kgated.deploy.recipe import load_recipe, save_recipe
from kgated.mixed_precision import search
from kgated.mixed_precision.compare import keras_accuracy
from kgated.mixed_precision.evaluate import Trial

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="recipes are tried on TensorFlow"
)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    layers = [
        keras.Input((None, 3)),
        keras.layers.Dense(2, use_bias=False, name="fragile"),
        keras.layers.Dropout(0.5, name="gone"),
        kgated.GRU(4, name="cell"),
        keras.layers.Dense(2, name="head"),
    ]
    classifier = keras.Sequential(layers)
    # The third feature is always 0, and its weights leave one step of 4 bits for the others.
    classifier.get_layer("fragile").set_weights([np.array([[1.0, -0.5], [0.6, 1.0], [40.0, 40.0]])])
    head = classifier.get_layer("head")
    head.set_weights([w / 5 for w in head.get_weights()])  # errors that the converter lets pass
    return classifier


@pytest.fixture(scope="module")
def data(model):
    """Sequences labelled by the float model itself, those that it is sure of."""
    x = np.random.default_rng(2).normal(size=(120, 6, 3)).astype(np.float32)
    x[..., 2] = 0.0
    lengths = np.where(np.arange(120) % 2, 6, 4)
    outputs = np.where((lengths == 6)[:, None], model(x), model(x[:, :4]))
    margin = outputs[:, 1] - outputs[:, 0]
    margin -= np.median(margin)
    bias = np.array([0.0, -np.median(outputs[:, 1] - outputs[:, 0])])
    model.get_layer("head").set_weights([model.get_layer("head").get_weights()[0], bias])
    sure = np.abs(margin) > 0.02
    return SequenceData(x[sure], lengths[sure], (margin[sure] > 0).astype(np.int64))


@pytest.fixture(scope="module")
def result(model, data):
    return kgated.mixed_recipe(model, data, "dynamic4", limit=5.0)


def test_the_fragile_layer_is_found(result):
    lost = {entry.layer: entry.lost_points for entry in result.sensitivities}
    assert next(iter(lost)) == "fragile"
    assert set(lost) == {"fragile", "cell", "head"}  # dropout leaves nothing to quantize
    assert lost["fragile"] > 25.0
    assert max(lost["cell"], lost["head"]) < 5.0


class Subclassed(keras.Model):
    """The same model without a graph of layers."""

    def __init__(self, layers):
        super().__init__()
        self.parts = layers

    def call(self, x):
        for layer in self.parts:
            x = layer(x)
        return x


def test_a_subclassed_model_is_searched_as_well(model, data):
    subclassed = Subclassed(model.layers)
    subclassed(data.x[:1])
    some = SequenceData(data.x[:8], data.lengths[:8], data.y[:8])
    names = {entry.layer for entry in kgated.sensitivity(subclassed, some, "dynamic4")}
    assert names == {"fragile", "cell", "head"}


def test_the_recipe_leaves_it_in_float(result, model, data, tmp_path):
    assert result.recipe == Recipe(quantize="dynamic4", skip=("fragile",))
    assert result.plain.accuracy == 1.0
    assert result.whole.accuracy < 0.75
    path = tmp_path / "mixed.tflite"
    kgated.to_tflite(model, path, calibration=data, **result.recipe.as_dict())
    edge, right = EdgeModel(path), []
    for n, label in enumerate(data.y):
        edge.reset()
        right.append(edge.run(data.sequence(n))[-1].argmax() == label)
    assert np.mean(right) == result.trial.accuracy
    assert result.lost_points == pytest.approx(100 * (1 - np.mean(right)))
    assert result.lost_points <= 5.0


def test_accuracy_of_keras_is_counted_at_the_real_end(model, data):
    assert keras_accuracy(model, data) == 1.0
    swapped = replace(data, y=1 - data.y)
    assert keras_accuracy(model, swapped) == 0.0


class Told:
    """A judge that knows what each set of layers in float loses."""

    plain = Trial(Recipe(), 1.0, 100)

    def __init__(self, lost):
        self.known = lost

    def trial(self, quantize, skip=()):
        return Trial(Recipe(quantize=quantize, skip=skip), 1.0, 50)

    def lost(self, trial):
        return 0.0 if trial is self.plain else self.known["".join(sorted(trial.recipe.skip))]


@pytest.mark.parametrize(
    ("lost", "skip"),
    [
        ({"": 0.4}, ()),
        ({"": 9.0, "a": 0.5}, ("a",)),
        ({"": 9.0, "a": 8.0, "ab": 0.4, "b": 0.3}, ("b",)),
        ({"": 9.0, "a": 8.0, "ab": 0.4, "b": 0.6}, ("a", "b")),
        ({"": 9.0, "a": 8.0, "ab": 7.0, "abc": 6.0}, None),
        ({"": 9.0, "a": 8.0, "ab": 7.0, "abc": 0.0}, None),  # nothing is left to quantize
    ],
)
def test_search_puts_back_what_it_need_not_skip(lost, skip):
    judge = Told(lost)
    actual = search._search(judge, "int8", judge.trial("int8"), ["a", "b", "c"], 0.5)
    assert actual is judge.plain if skip is None else actual.recipe.skip == skip


def test_command_writes_a_recipe_that_convert_takes(model, data, tmp_path, capfd):
    saved, sequences = tmp_path / "model.keras", tmp_path / "data.npz"
    model.save(saved)
    save_npz(sequences, data)
    recipe, tflite = tmp_path / "recipe.json", tmp_path / "made.tflite"

    def main(*arguments):
        with pytest.raises(SystemExit) as done:
            kgated_cli.main([str(a) for a in arguments])
        return done.value.code, capfd.readouterr()

    options = ("--data", sequences, "--quantize", "dynamic4", "--limit", 5, "-o", recipe)
    status, answer = main("optimize", saved, "--qat", saved, *options)
    assert status == 0
    assert all(word in answer.out for word in ("fragile", "after training", "in training", "mixed"))
    assert answer.out.endswith("quantize dynamic4, layers left in float: fragile\n")
    assert load_recipe(recipe).skip == ("fragile",)
    status, answer = main("convert", saved, tflite, "--recipe", recipe)
    assert (status, EdgeModel(tflite).manifest.recipe["skip"]) == (0, ["fragile"])
    assert "quantize dynamic4" in answer.out
    status, answer = main("convert", saved, tflite, "--recipe", recipe, "--quantize", "int8")
    assert (status, "--recipe brings --quantize" in answer.err) == (2, True)
    status, answer = main("optimize", saved, "--data", sequences, "-o", saved)
    assert (status, "one of the inputs" in answer.err) == (2, True)


def test_what_cannot_be_judged_is_refused(model, data):
    for wrong, quantize, limit, words in (
        (replace(data, y=None), "int8", 0.5, "`data` must have class labels"),
        (data, "none", 0.5, "`quantize` must not be 'none'"),
        (data, "int9", 0.5, "`quantize` must be one of"),
        (data, "int8", -1.0, "`limit` must be 0 or more"),
    ):
        with pytest.raises(ValueError, match=words):
            kgated.mixed_recipe(model, wrong, quantize, limit=limit)


def test_recipes_are_stored_and_checked(tmp_path):
    path = tmp_path / "recipe.json"
    recipe = Recipe("sequence", "int8", skip=("a", "b"), lowering="unrolled", batch=2)
    save_recipe(path, recipe)
    assert load_recipe(path) == recipe
    for content, words in (
        ("{", "can't be read as a recipe"),
        ("[1]", "a recipe is a JSON object"),
        (json.dumps({"quantise": "int8"}), "a recipe is a JSON object"),
        (json.dumps({"skip": "a"}), "`skip` must be a list"),
        (json.dumps({"quantize": "int9"}), "`quantize` must be one of"),
    ):
        path.write_text(content)
        with pytest.raises(ValueError, match=words):
            load_recipe(path)
