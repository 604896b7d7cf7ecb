"""Ids of texts on a device, against Keras's own layers."""

import random

import keras
import numpy as np
import pytest
from kgated_edge.text import decode, encode, encode_all

from kgated.deploy.text.cut import vocabulary_of

LETTERS = (
    "abcXYZ ÄäßİIıéÉ!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~' \t\n\xa0\u2003\u3000😀漢字"
    "\x0b\x0c\x1c\x85\u200b"
)
STANDARDIZE = ("lower_and_strip_punctuation", "lower", "strip_punctuation", None)


@pytest.fixture(scope="module")
def texts():
    draw = random.Random(0)
    lengths = (draw.randint(0, 30) for _ in range(200))
    return ["".join(draw.choices(LETTERS, k=length)) for length in lengths]


@pytest.mark.parametrize("standardize", STANDARDIZE)
@pytest.mark.parametrize("split", ["whitespace", "character", None])
@pytest.mark.parametrize("length", [None, 5])
def test_ids_are_those_of_text_vectorization(standardize, split, length, texts):
    layer = keras.layers.TextVectorization(
        max_tokens=40, standardize=standardize, split=split, output_sequence_length=length
    )
    layer.adapt(texts[:100])
    vocabulary, column = vocabulary_of(layer), np.array(texts, object)[:, None]
    expected = np.asarray(layer(column))
    ids = encode(vocabulary, texts)
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(ids, expected)
    np.testing.assert_array_equal(encode(vocabulary, np.array(texts)[:, None]), expected)
    single = encode(vocabulary, texts[3])
    np.testing.assert_array_equal(single, np.asarray(layer(column[3:4]))[0])
    assert len(set(ids.ravel().tolist())) > 5  # neither padding nor unknown alone


def test_lengths_are_those_before_padding(texts):
    layer = keras.layers.TextVectorization(vocabulary=["a", "b"])
    ids, lengths = encode_all(vocabulary_of(layer), ["a b a", "", "b"])
    assert lengths.tolist() == [3, 1, 1]
    assert ids.tolist() == [[2, 3, 2], [0, 0, 0], [3, 0, 0]]
    assert decode(vocabulary_of(layer), ids[0]) == "a b a"
    assert decode(vocabulary_of(layer), ids[2]) == "b"


@pytest.mark.parametrize("options", [{}, {"mask_token": ""}, {"num_oov_indices": 0}])
def test_ids_are_those_of_string_lookup(options):
    layer = keras.layers.StringLookup(vocabulary=["cat", "dog", "bird"], **options)
    known = [["dog", "cat"], ["bird", "" if options.get("mask_token") == "" else "dog"]]
    tokens = known if "num_oov_indices" in options else [*known, ["cow", "dog"]]
    ids = encode(vocabulary_of(layer), np.array(tokens))
    np.testing.assert_array_equal(ids, np.asarray(layer(np.array(tokens, object))))


@pytest.mark.parametrize("options", [{}, {"mask_token": 0}])
def test_ids_are_those_of_integer_lookup(options):
    layer = keras.layers.IntegerLookup(vocabulary=[12, 5, 900], **options)
    tokens = np.array([[5, 12, 7], [900, 0, -1]])
    ids = encode(vocabulary_of(layer), tokens)
    np.testing.assert_array_equal(ids, np.asarray(layer(tokens)))
