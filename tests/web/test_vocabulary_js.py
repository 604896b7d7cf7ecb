"""The vocabulary in JavaScript encodes each text to the ids of the runner."""

import itertools

import pytest
from kgated_edge.errors import FrameError
from kgated_edge.format.vocabulary import SPLIT, STANDARDIZE, Vocabulary
from kgated_edge.text import encode

pytestmark = pytest.mark.slow
TOKENS = (
    "",
    "[UNK]",
    "a",
    "B",
    "b",
    "e",
    "é",
    "😀",
    "it's",
    "its",
    "hello,",
    "hello",
    "Hello",
    " ",
)
TEXTS = [
    "",
    "a B b",
    "Hello, hello  it's\tits\n",
    "caf\u00e9 e\u0301 \u00c9 \u0130",
    "😀a b😀",
    "a\u00a0b\u2003hello\x1cits \ufeffa",
    "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'",
]
NO_TOKEN = "this model takes tokens, with blanks between them: write one or more"
ENCODE = """
    try { return Array.from(m.encode(vocabulary, text)); } catch (error) { return error.message; }
"""


def ids_or_refusal(vocabulary, text):
    """What `kgated-edge encode` prints for a text."""
    try:
        return encode(vocabulary, text.split() if vocabulary.split == "given" else text).tolist()
    except FrameError as error:
        return str(error)


@pytest.mark.parametrize("standardize", STANDARDIZE)
@pytest.mark.parametrize("split", SPLIT)
def test_a_text_becomes_the_ids_of_the_runner(run_js, rng, standardize, split):
    letters = list("aBbeé😀'h,. \t\n\u00a0")
    noise = ["".join(rng.choice(letters, 30)) for _ in range(10)]
    facts = itertools.product((None, 1), (None, 0), (None, 5))
    body = f"return cases.map(({{vocabulary, text}}) => {{ {ENCODE} }});"
    cases = [
        (Vocabulary(TOKENS, standardize, split, unknown, padding, length), text)
        for unknown, padding, length in facts
        for text in [*TEXTS, *noise]
        # Keras refuses a fixed length of tokens that the caller splits.
        if split != "given" or length is None
    ]
    plain = [{"vocabulary": words.to_plain(), "text": text} for words, text in cases]
    encoded = run_js(body, "vocabulary", cases=plain)
    refusals = 0
    for (vocabulary, text), ids in zip(cases, encoded, strict=True):
        expected = ids_or_refusal(vocabulary, text)
        if isinstance(expected, str):
            assert isinstance(ids, str), (vocabulary, text)
            refusals += 1
            assert ids == NO_TOKEN or ids.split("among")[-1] == expected.split("among")[-1]
        else:
            assert ids == expected, (vocabulary, text)
    assert 0 < refusals < len(cases)


@pytest.mark.parametrize("text", ["7 -3\t007", "", "+7", "8", "x", "1.5", "9223372036854775807"])
def test_whole_numbers_become_the_ids_of_the_runner(run_js, text):
    vocabulary = Vocabulary((7, -3), split="given", unknown=1)
    ids = run_js(ENCODE, "vocabulary", vocabulary=vocabulary.to_plain(), text=text)
    try:
        tokens = [int(word) for word in text.split()]
    except ValueError:
        assert ids == f"this model takes whole numbers, got '{text}'"
    else:
        assert ids == (encode(vocabulary, tokens).tolist() if tokens else NO_TOKEN)
