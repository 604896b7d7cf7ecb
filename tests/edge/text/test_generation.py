"""Text generation on a device, against the model's equations and a softmax in float64."""

from types import SimpleNamespace

import numpy as np
import pytest
from kgated_edge import EdgeError, EdgeModel, FrameError, generate
from kgated_edge.text import build_vocabulary, decode, encode, sample


def greedy(oracle, path, prompt, count):
    """The likeliest continuation, each token from the equations over the whole text before it."""
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(int(oracle(path, np.array(tokens, np.int32))[-1].argmax()))
    return tokens[len(prompt) :]


def test_the_likeliest_tokens_are_those_of_the_equations(text, oracle):
    for prompt in ([1, 2], [4], np.array([3, 0, 2])):
        written = list(generate(EdgeModel(text), prompt, 12, temperature=0))
        assert written == greedy(oracle, text, prompt, 12)


@pytest.mark.parametrize("as_probabilities", [False, True])
def test_draws_follow_the_softmax(as_probabilities, rng):
    logits, temperature, count = np.array([1.0, 0.0, 2.0, -1.0]), 0.7, 5_000
    powers = np.exp(logits / temperature)
    expected = powers / powers.sum()
    shown = np.exp(logits) / np.exp(logits).sum() if as_probabilities else logits
    draws = [sample(shown, temperature, None, rng) for _ in range(count)]
    shares = np.bincount(draws, minlength=4) / count
    np.testing.assert_allclose(shares, expected, atol=0.03)
    assert np.abs(shares - np.exp(logits) / np.exp(logits).sum()).max() > 0.03
    assert {sample(shown, temperature, 2, rng) for _ in range(200)} == {0, 2}


def test_a_seed_repeats_the_text_and_a_token_stops_it(text):
    model = EdgeModel(text)
    written = list(generate(model, [1], 40, seed=3))
    assert list(generate(model, [1], 40, seed=3)) == written
    assert list(generate(model, [1], 40, seed=4)) != written
    stop = written[5]
    expected = written[: written.index(stop)]
    assert list(generate(model, [1], 40, seed=3, stop=stop)) == expected
    assert list(generate(model, [1], 40, seed=3, stop=[stop])) == expected
    assert list(generate(model, [1], 0)) == []


def test_tokens_come_one_by_one_without_an_end(text):
    tokens = generate(EdgeModel(text), [1], 10**9, seed=0)
    assert len([next(tokens) for _ in range(5)]) == 5


def with_vocabulary(path, tokens):
    """The model with a vocabulary, as a file that has one."""
    model, manifest = EdgeModel(path), EdgeModel(path).manifest
    facts = SimpleNamespace(**{name: getattr(manifest, name) for name in vars(manifest)})
    facts.frame, facts.output = manifest.frame, manifest.output
    facts.vocabulary = build_vocabulary(tokens)
    return SimpleNamespace(manifest=facts, reset=model.reset, step=model.step)


def test_a_prompt_of_text_is_continued_in_text(text):
    model = with_vocabulary(text, list("abcde"))
    ids = list(generate(EdgeModel(text), [1, 2], 20, seed=1))
    assert "".join(generate(model, "bc", 20, seed=1)) == "".join("abcde"[n] for n in ids)
    stopped = "".join(generate(model, "bc", 20, seed=1, stop="abcde"[ids[7]]))
    assert len(stopped) == ids.index(ids[7])


BAD = [
    ({"prompt": "ab"}, FrameError, "the file has no vocabulary to encode a text with"),
    ({"prompt": []}, FrameError, "a prompt must have a token or more"),
    ({"prompt": [0.5]}, FrameError, "a prompt must be a text, or ids"),
    ({"max_tokens": -1}, EdgeError, "`max_tokens` must not be below 0"),
    ({"temperature": -0.1}, EdgeError, "`temperature` must be 0"),
    ({"temperature": float("nan")}, EdgeError, "`temperature` must be 0"),
    ({"top_k": 6}, EdgeError, r"`top_k` must be in 1..5"),
    ({"stop": 5}, EdgeError, r"`stop` must be a token, or an id in 0..4"),
    ({"stop": "a"}, EdgeError, "`stop` must be a token of the vocabulary"),
]


@pytest.mark.parametrize(("arguments", "kind", "message"), BAD)
def test_bad_arguments_are_refused_at_the_call(arguments, kind, message, text):
    with pytest.raises(kind, match=message):
        generate(EdgeModel(text), **{"prompt": [1], **arguments})


def test_another_kind_of_model_is_refused(speech):
    with pytest.raises(EdgeError, match="generating text takes a stream of one token per step"):
        generate(EdgeModel(speech), [1])


def test_text_without_an_id_is_refused():
    vocabulary = build_vocabulary(list("ab"))
    with pytest.raises(FrameError, match="'c' is not among the 2 tokens"):
        encode(vocabulary, "abc")
    with pytest.raises(FrameError, match=r"an id must be in 0..1, got 2"):
        decode(vocabulary, [2])
    with pytest.raises(FrameError, match="a text must be a string, got a int"):
        encode(vocabulary, [1, 2])
    assert decode(vocabulary, encode(vocabulary, "abba")) == "abba"
