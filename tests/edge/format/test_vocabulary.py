"""The vocabulary in a manifest: every field read, every defect refused."""

import json

import pytest
from kgated_edge import ManifestError
from kgated_edge.format import vocabulary as rules
from kgated_edge.format.reader import parse_manifest

WORDS = {
    "tokens": ["", "[UNK]", "Grüße", "\n"],
    "standardize": "lower",
    "split": "whitespace",
    "unknown": 1,
    "padding": 0,
    "length": 7,
}


def document(path):
    content = path.read_bytes()
    start = content.index(b'{"format_version"')
    return json.JSONDecoder().raw_decode(content[start:].decode(errors="replace"))[0]


def read(path, **fields):
    changed = document(path) | {"vocabularies": {"frame": {**WORDS, **fields}}}
    return parse_manifest(json.dumps(changed))


def test_a_vocabulary_survives_a_round_trip(text):
    manifest = read(text)
    assert manifest.vocabulary.tokens == ("", "[UNK]", "Grüße", "\n")
    assert json.loads(manifest.to_json())["vocabularies"] == {"frame": WORDS}
    assert parse_manifest(manifest.to_json()).vocabulary.to_plain() == WORDS
    assert parse_manifest(json.dumps(document(text))).vocabulary is None


def test_tokens_may_be_integers(text):
    assert read(text, tokens=[7, -1], split="given", unknown=None).vocabulary.tokens == (7, -1)


DEFECTS = [
    ({"tokens": []}, "tokens` must be 1 to 5 tokens"),
    ({"tokens": list("abcdef")}, "tokens` must be 1 to 5 tokens"),
    ({"tokens": "abc"}, "tokens` must be an array"),
    ({"tokens": ["a", 1]}, "tokens` must be an array of strings, or of integers"),
    ({"tokens": [True, False]}, "tokens` must be an array of strings, or of integers"),
    ({"tokens": [2**63]}, "tokens` must be an array of strings, or of integers"),
    ({"tokens": [["a"]]}, "tokens` must be an array of strings, or of integers"),
    ({"tokens": ["a", "b", "a"]}, "tokens` must be tokens that differ"),
    ({"tokens": ["a", "\ud800"]}, "tokens` must be text of at most"),
    ({"tokens": [1, 2]}, "split` must be 'given' for tokens that are integers"),
    ({"standardize": "rot13"}, "standardize` must be 'none' or 'lower'"),
    ({"split": None}, "split` must be a non-empty string"),
    ({"unknown": 4}, "unknown` must be the id of a token, below 4"),
    ({"unknown": -1}, "unknown` must be a whole number"),
    ({"padding": "0"}, "padding` must be a whole number"),
    ({"length": 0}, "length` must be a whole number of at least 1"),
    ({"length": 2**40}, "length` must be at most"),
]


@pytest.mark.parametrize(("fields", "message"), DEFECTS)
def test_a_defect_is_refused(fields, message, text):
    with pytest.raises(ManifestError, match="`vocabularies.frame.*" + message):
        read(text, **fields)


def test_a_vocabulary_belongs_to_an_input_of_tokens(text, speech):
    with pytest.raises(ManifestError, match=r"`vocabularies.frame` must be of an input that takes"):
        read(speech)
    changed = document(text) | {"vocabularies": {"other": WORDS}}
    with pytest.raises(ManifestError, match=r"`vocabularies.other` must be of an input"):
        parse_manifest(json.dumps(changed))


def test_the_size_of_a_vocabulary_is_bounded(text, monkeypatch):
    monkeypatch.setattr(rules, "MAX_CHARACTERS", 3)
    with pytest.raises(ManifestError, match="text of at most 3 characters"):
        read(text, tokens=["ab", "cd"])


def test_a_threshold_is_for_one_number(speech):
    with pytest.raises(ManifestError, match=r"`threshold` must be 0.5, but for a first output"):
        parse_manifest(json.dumps(document(speech) | {"threshold": 0.7}))
    with pytest.raises(ManifestError, match="`threshold` must be a finite number"):
        parse_manifest(json.dumps(document(speech) | {"threshold": "high"}))
