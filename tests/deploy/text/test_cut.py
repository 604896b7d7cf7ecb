"""Models that begin with text: cut there, with the vocabulary in the file."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from kgated_edge import EdgeModel, FrameError, SequenceModel, check, generate
from kgated_edge.cli import main

import kgated
from kgated.errors import ConversionError

K = keras.layers
TEXTS = np.array(
    ["The cat sat.", "a dog ran far away", "the bird flew!", "cat, dog, bird", "ran", "far"] * 3
)
LABELS = np.arange(len(TEXTS)) % 2


def binary_model(first, entry):
    recurrent = K.Bidirectional(keras.layers.GRU(3))
    head = K.Dense(1, activation="sigmoid")
    return keras.Sequential([entry, first, K.Embedding(20, 4, mask_zero=True), recurrent, head])


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A model from texts to one probability, and its file in int8."""
    keras.utils.set_random_seed(1)
    vectorize = K.TextVectorization(max_tokens=20, output_sequence_length=6)
    vectorize.adapt(TEXTS)
    model = binary_model(vectorize, keras.Input((1,), dtype="string"))
    path = tmp_path_factory.mktemp("text") / "m.tflite"
    kgated.to_tflite(
        model,
        path,
        mode="sequence",
        quantize="int8",
        calibration=TEXTS,
        labels=["bad", "good"],
        threshold=0.5,
    )
    return model, path


def test_the_file_takes_texts_and_ids(classifier):
    (model, path), texts = classifier, tf.constant(TEXTS[:, None])
    edge, expected = SequenceModel(path), np.asarray(model(texts))
    assert edge.manifest.vocabulary.tokens == tuple(model.layers[0].get_vocabulary())
    assert edge.manifest.vocabulary.length == 6
    ids = edge.encode(TEXTS)
    np.testing.assert_array_equal(ids, np.asarray(model.layers[0](texts)))
    for n, text in enumerate(TEXTS[:6]):
        result = edge.run(str(text))
        np.testing.assert_array_equal(result, edge.run(ids[n].astype(np.int64)))
        np.testing.assert_allclose(result, expected[n], atol=0.01)


def test_decisions_follow_the_threshold(classifier, tmp_path):
    model, path = classifier
    edge, results = SequenceModel(path), np.asarray(model(tf.constant(TEXTS[:, None])))[:, 0]
    middle = float(np.median(np.unique(results)))
    assert [edge.decide(np.float32([value])) for value in (0.49, 0.5)] == ["bad", "good"]
    report = check(path, {"x": TEXTS, "y": LABELS})
    assert report.quality.task == "classification"
    assert report.accuracy == pytest.approx(((results >= 0.5) == LABELS).mean())
    converted = tmp_path / "m.tflite"
    options = {"mode": "sequence", "labels": ["bad", "good"], "threshold": middle}
    conversion = kgated.to_tflite(model, converted, calibration=TEXTS, **options)
    assert conversion.agreement.top1_agreement == 1.0
    decisions = np.array([SequenceModel(converted).run(str(text))[0] >= middle for text in TEXTS])
    assert check(converted, {"x": TEXTS, "y": decisions.astype(int)}).accuracy == 1.0
    assert len(set(decisions.tolist())) == 2
    floats = {"x": TEXTS, "y": decisions.astype(np.float32)}
    assert check(converted, floats).accuracy == 1.0


def test_data_sets_of_text_are_read_from_a_file(classifier, tmp_path, capsys):
    _, path = classifier
    np.savez(tmp_path / "x.npz", x=TEXTS, y=LABELS)
    assert check(path, tmp_path / "x.npz").sequences == len(TEXTS)
    assert main.main(["check", str(path), "--data", str(tmp_path / "x.npz")]) == 0
    capsys.readouterr()
    assert main.main(["encode", str(path), "the cat", "zebra"]) == 0
    words = SequenceModel(path).manifest.vocabulary.tokens
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{words.index('the')} {words.index('cat')} 0 0 0 0", "1 0 0 0 0 0"]
    assert main.main(["decode", str(path), *lines[0].split()]) == 0
    assert capsys.readouterr().out == "the cat\n"


@pytest.mark.parametrize("kind", ["strings", "integers"])
def test_lookup_layers_are_cut(kind, tmp_path):
    tokens = np.array([["cat", "dog", "cow"], ["dog", "cat", "cat"]] * 4)
    lookup = K.StringLookup(vocabulary=["cat", "dog"], mask_token="")
    if kind == "integers":
        tokens = np.array([[12, 5, 7], [5, 12, 12]] * 4)
        lookup = K.IntegerLookup(vocabulary=[12, 5], mask_token=0)
    dtype = "string" if kind == "strings" else "int64"
    model = binary_model(lookup, keras.Input((3,), dtype=dtype))
    options = {"mode": "sequence", "calibration": lookup(tokens).numpy().astype(np.int64)}
    kgated.to_tflite(model, tmp_path / "m.tflite", **options)
    edge = SequenceModel(tmp_path / "m.tflite")
    ids = edge.encode(tokens[0])
    np.testing.assert_allclose(
        edge.run(ids), np.asarray(model(tf.constant(tokens[:1])))[0], atol=1e-5
    )


REFUSED = [
    ({"standardize": lambda x: x}, "a `standardize` function of your own"),
    ({"ngrams": 2}, "n-grams"),
    ({"output_mode": "multi_hot"}, "output_mode='multi_hot'"),
]


@pytest.mark.parametrize(("options", "reason"), REFUSED)
def test_what_is_more_than_ids_is_refused_with_a_way_out(options, reason, tmp_path):
    vectorize = K.TextVectorization(vocabulary=["cat", "dog"], name="words", **options)
    layers = [keras.Input((1,), dtype="string"), vectorize]
    after = [K.Dense(2)] if "output_mode" in options else [K.Embedding(8, 2), K.LSTM(2)]
    hint = "convert the part after it"
    with pytest.raises(ConversionError, match=f"layer `words` .* has {reason}.*{hint}"):
        kgated.to_tflite(keras.Sequential([*layers, *after]), tmp_path / "m.tflite")
    assert not list(tmp_path.iterdir())


def test_a_language_model_takes_its_vocabulary_along(tmp_path, capsys):
    model = kgated.models.LanguageModel(sorted("helo wrd\n"), units=6, embedding_units=4)
    kgated.to_tflite(model, tmp_path / "m.tflite")
    edge = EdgeModel(tmp_path / "m.tflite")
    for options in ({"temperature": 0.0}, {"temperature": 0.8, "top_k": 4, "seed": 5}):
        expected = model.generate("hello", 25, **options)
        assert "".join(generate(edge, "hello", 25, **options)) == expected
    command = ["generate", str(tmp_path / "m.tflite"), "--prompt", "hello", "--max-tokens", "25"]
    assert main.main([*command, "--temperature", "0.8", "--top-k", "4", "--seed", "5"]) == 0
    assert capsys.readouterr().out == expected + "\n"


@pytest.mark.parametrize("mode", ["stream", "sequence"])
def test_ids_of_64_bits_and_a_given_vocabulary(mode, rng, tmp_path):
    layers = [keras.Input((None,), dtype="int64"), K.Embedding(6, 4), K.LSTM(3), K.Dense(2)]
    model, x = keras.Sequential(layers), rng.integers(0, 6, (8, 5))
    size = {"max_length": 5} if mode == "sequence" else {}
    options = {"mode": mode, "quantize": "int8", "calibration": x, **size}
    path = tmp_path / "m.tflite"
    kgated.to_tflite(model, path, vocabulary=["", "[UNK]", "ant", "bee", "cow"], **options)
    edge, again = (SequenceModel(path) if size else EdgeModel(path) for _ in range(2))
    assert edge.encode("ant cow x").tolist() == [2, 4, 1]
    assert edge.decode([2, 4, 0]) == "ant cow"
    np.testing.assert_array_equal(edge.run("ant cow x"), again.run(np.array([2, 4, 1])))
    with pytest.raises(FrameError, match=r"a token must be in 0..5, got 4294967297"):
        edge.run(np.array([1, 2**32 + 1, 0]))
    with pytest.raises(ValueError, match=r"`vocabulary` has 7 tokens, and input `\w+` takes 6"):
        kgated.to_tflite(model, path, vocabulary=list("abcdefg"), **options)


def test_a_whole_text_has_c_sources(tmp_path):
    vectorize = K.TextVectorization(max_tokens=20, output_sequence_length=6)
    vectorize.adapt(TEXTS)
    embedding = K.Embedding(20, 4, mask_zero=True)
    inputs = keras.Input((1,), dtype="string")
    model = keras.Sequential([inputs, vectorize, embedding, K.GRU(3), K.Dense(2)])
    path = tmp_path / "m.tflite"
    kgated.to_tflite(model, path, mode="sequence", target="c", calibration=TEXTS)
    assert SequenceModel(path).manifest.vocabulary is not None
    assert "int32_t" in path.with_suffix(".h").read_text()
