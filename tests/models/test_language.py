"""The language model: what it learns, what it writes, and that it runs on the device."""

import importlib.util
from pathlib import Path

import keras
import numpy as np
import pytest
import warm_processes
from kgated_edge import EdgeModel

import kgated
from kgated.layers import CELLS
from kgated.models import language
from kgated.models.language import (
    NEXT_TOKEN_LOSS,
    LanguageModel,
    Stepper,
    bits_per_token,
    cross_entropy_bits,
    sample,
    text_streams,
)
from kgated.training import carry_state

LETTERS = "abcd."
UNITS = 8


def randomized(model, rng):
    """Weights large enough that the state matters, none at its initial value."""
    model.set_weights([w + rng.normal(0.0, 0.5, w.shape) for w in model.get_weights()])
    return model


@pytest.fixture(params=list(CELLS))
def model(request, rng):
    return randomized(LanguageModel(LETTERS, request.param, UNITS, layers=2), rng)


@pytest.fixture
def lstm(rng):
    return randomized(LanguageModel(LETTERS, units=UNITS), rng)


def logits_after(model, text):
    """The logits of the next symbol, with the whole text run from its start."""
    return np.asarray(model(model.encode(text)[None]))[0, -1]


def test_kept_state_equals_running_the_prefix_again(model):
    step, text = Stepper(model), "abacad.dcb"
    actual = np.stack([step(token) for token in model.encode(text)])
    again = np.stack([logits_after(model, text[: t + 1]) for t in range(len(text))])
    np.testing.assert_allclose(actual, again, rtol=0, atol=2e-6)
    assert np.ptp(again, axis=0).max() > 0.1  # the prefix matters


def test_greedy_text_equals_running_the_prefix_again(model):
    text = "ab"
    for _ in range(12):
        text += LETTERS[int(logits_after(model, text).argmax())]
    assert model.generate("ab", max_len=12, temperature=0) == text[2:]


def test_generation_takes_one_step_per_token(lstm, monkeypatch):
    actual = []

    class Counted(Stepper):
        def __call__(self, token):
            actual.append(int(token))
            return super().__call__(token)

    monkeypatch.setattr(language, "Stepper", Counted)
    text = lstm.generate("abc", max_len=20, seed=0)
    assert actual == lstm.encode("abc" + text)[:-1].tolist()
    assert len(actual) == 3 + 20 - 1


def test_generation_stops_at_the_end_symbol(lstm):
    free = lstm.generate("a", max_len=200, seed=1)
    assert "." in free
    assert lstm.generate("a", max_len=200, seed=1, stop_token=".") == free.split(".")[0]


def test_a_seed_repeats_the_text_and_another_changes_it(lstm):
    first, again, different = (lstm.generate("a", max_len=40, seed=s) for s in (3, 3, 4))
    assert first == again != different
    assert len(first) == 40


def test_tokens_come_back_as_the_prompt_came(rng):
    words = ["the ", "cat ", "sat ", "<end>"]
    model = randomized(LanguageModel(words, units=UNITS), rng)
    written = model.generate(["the ", "cat "], max_len=5, seed=0)
    assert isinstance(written, list)
    assert len(written) == 5
    assert set(written) <= set(words)
    assert model.decode(model.encode(words)) == "the cat sat <end>"


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        ("", {}, "`prompt` must have at least one symbol"),
        ("ax", {}, "holds 'x', which is not among the 5"),
        ("a", {"stop_token": "!"}, "holds '!'"),
        ("a", {"temperature": -0.1}, "`temperature` must be 0"),
        ("a", {"temperature": float("nan")}, "`temperature` must be 0"),
        ("a", {"top_k": 0}, r"`top_k` must be in 1\.\.5"),
        ("a", {"top_k": 6}, r"`top_k` must be in 1\.\.5.*Received: 6"),
        ("a", {"max_len": -1}, "`max_len` must be at least 0"),
    ],
)
def test_bad_requests_are_refused(lstm, prompt, options, message):
    with pytest.raises(ValueError, match=message):
        lstm.generate(prompt, **options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vocabulary": ""}, "`vocabulary` must have at least one symbol"),
        ({"vocabulary": "aba"}, "once. Received 'a' twice"),
        ({"vocabulary": "ab", "cell": "lstm"}, "`cell` must be one of"),
        ({"vocabulary": "ab", "layers": 0}, "`layers` must be at least 1"),
    ],
)
def test_bad_models_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        LanguageModel(**arguments)


@pytest.mark.parametrize("cell", ["MinGRU", "MinLSTM"])
def test_dropout_on_a_state_without_a_kernel_is_refused(cell):
    with pytest.raises(TypeError, match="`recurrent_dropout` is not an argument"):
        LanguageModel("ab", cell, recurrent_dropout=0.1)


def test_samples_follow_the_softmax_at_a_temperature(rng):
    logits, temperature = np.array([0.0, 1.0, 2.0, -1.0]), 0.5
    counts = np.bincount([sample(logits, temperature, None, rng) for _ in range(4000)], minlength=4)
    p = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
    np.testing.assert_allclose(counts / 4000, p, rtol=0, atol=0.03)
    assert abs(counts[2] / 4000 - 0.64) > 0.1  # at temperature 1 it would be 0.64


def test_top_k_keeps_the_likeliest_alone(rng):
    logits = np.array([0.0, 1.0, 2.0, -1.0])
    assert {sample(logits, 5.0, 2, rng) for _ in range(200)} == {1, 2}
    assert {sample(logits, 5.0, 1, rng) for _ in range(20)} == {2}
    assert sample(logits, 0.0, None, rng) == 2


def test_huge_logits_draw_without_overflow(rng):
    assert sample(np.array([0.0, 1e6, -1e6]), 1e-3, None, rng) == 1


def test_bits_are_those_of_the_whole_text_whatever_the_chunk(model, rng):
    tokens = rng.integers(0, len(LETTERS), 50).astype(np.int32)
    full = cross_entropy_bits(np.asarray(model(tokens[None, :-1]))[0], tokens[1:]).mean()
    for steps in (7, 512):
        assert bits_per_token(model, tokens, steps) == pytest.approx(full, abs=1e-5)
    changed = np.where(tokens == 0, 1, tokens)
    assert abs(bits_per_token(model, changed) - full) > 1e-3


def test_bits_of_equal_chances_are_the_logarithm():
    assert cross_entropy_bits(np.zeros((3, 8)), np.array([0, 3, 7])) == pytest.approx([3.0] * 3)


def test_streams_hold_every_pair_of_neighbours_once():
    data = text_streams(np.arange(20, dtype=np.int32), streams=3, steps=4)
    batches = [data[k] for k in range(len(data))]
    pairs = [
        pair for x, y, real in batches for pair in zip(x["x"][real > 0], y[real > 0], strict=True)
    ]
    assert sorted(pairs) == [(t, t + 1) for t in range(19)]
    assert [x["start"].tolist() for x, _, _ in batches] == [[1.0] * 3, [0.0] * 3]
    with pytest.raises(ValueError, match="take fewer streams"):
        text_streams(np.arange(5), streams=3, steps=4)


def test_learns_a_text_that_needs_memory():
    keras.utils.set_random_seed(0)
    text = "abc.cba." * 60  # what follows b, and what follows a point, hangs on what was before
    model = LanguageModel(sorted(set(text)), units=24, embedding_units=8, dropout=0.05)
    stateful = carry_state(model, streams=4)
    stateful.compile(keras.optimizers.Adam(0.02, global_clipnorm=1.0), NEXT_TOKEN_LOSS)
    before = bits_per_token(model, model.encode(text))
    stateful.fit(text_streams(model.encode(text), 4, 12), epochs=12, verbose=0)
    assert before > 1.5
    assert bits_per_token(model, model.encode(text)) < 0.1
    assert model.generate("abc.", max_len=12, temperature=0) == "cba.abc.cba."


def test_saved_and_loaded_with_every_option(tmp_path, rng):
    options = {"cell": "GRU", "units": 6, "layers": 2, "embedding_units": 5, "dropout": 0.1}
    options |= {"recurrent_dropout": 0.2, "dtype": "mixed_bfloat16", "name": "speaker"}
    model = randomized(LanguageModel(["a", "bc", "d"], **options), rng)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert loaded.get_config() == model.get_config()
    assert loaded.vocabulary == ("a", "bc", "d")
    tokens = np.array([[0, 1, 2, 1]])
    np.testing.assert_array_equal(np.asarray(loaded(tokens)), np.asarray(model(tokens)))
    assert keras.backend.standardize_dtype(loaded(tokens).dtype) == "float32"
    assert loaded.layers[2].compute_dtype == "bfloat16"


def test_runs_token_by_token_on_the_device(model, tmp_path):
    model.generate("a", max_len=1)
    kgated.to_tflite(model, tmp_path / "m.tflite", labels=list(LETTERS))
    edge, step = EdgeModel(tmp_path / "m.tflite"), Stepper(model)
    for token in model.encode("abacad.dcb"):
        np.testing.assert_allclose(edge.step(int(token)), step(token), rtol=0, atol=1e-5)


def test_converts_after_training_with_carried_state(lstm, tmp_path):
    carry_state(lstm, streams=2)
    conversion = kgated.to_tflite(lstm, tmp_path / "m.tflite", quantize="dynamic")
    assert conversion.agreement.top1_agreement > 0.9


@pytest.fixture(scope="module")
def script():
    path = Path(__file__).parents[2] / "scripts" / "train_language_model.py"
    spec = importlib.util.spec_from_file_location("train_language_model", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("context", [[], [0, 1, 2, 1], [2, 2, 2, 2], [3, 3]])
def test_the_ngrams_chances_sum_to_one(script, rng, context):
    ngram = script.NGram(rng.integers(0, 3, 400), size=4, order=3)  # 3 is never seen
    ngram.tune(rng.integers(0, 4, 100))
    ends = [ngram.probabilities(np.array([0, *context, c]))[-1] for c in range(4)]
    assert sum(ends) == pytest.approx(1.0, abs=1e-9)
    assert min(ends) > 0


def test_the_ngram_knows_a_text_that_repeats(script):
    text = np.tile([0, 1, 0, 2], 200)  # two symbols back tell the next, one does not
    bits = [script.NGram(text, size=3, order=n).bits_per_token(text) for n in (1, 2, 3)]
    assert bits[0] > 1.4 > 0.6 > bits[1] > 0.4 > 0.05 > bits[2]


def test_the_corpus_is_split_by_paragraphs_that_come_once(script):
    text = script.corpus()
    assert text == script.corpus()
    parts = [part.split(script.END)[1:-1] for part in (text.train, text.valid, text.test)]
    paragraphs = [" ".join(p.split()) for part in parts for p in part]
    assert len(paragraphs) == len(set(paragraphs)) > 500
    assert len(parts[0]) / len(paragraphs) == pytest.approx(0.8, abs=0.01)
    assert set(text.valid) | set(text.test) <= set(text.vocabulary)


@pytest.mark.slow
def test_the_command_loads_a_language_model_in_a_process_of_its_own(tmp_path):
    LanguageModel("abc", units=4, embedding_units=3).save(tmp_path / "m.keras")
    code = "import sys, pathlib, kgated_cli; m = kgated_cli.load_model(pathlib.Path(sys.argv[1]))"
    code += "; print(*m.vocabulary)"
    run = warm_processes.run("-c", code, tmp_path / "m.keras")
    assert run.stdout.strip() == "a b c", run.stderr[-1000:]
