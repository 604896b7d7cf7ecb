"""Streams of synthetic speech: words, pauses, and babble of other voices behind them."""

from collections.abc import Iterator

import numpy as np

from kgated.demos.espeak import RATE, Voice, speak
from kgated.demos.streams import Array, Stream, join_pieces

KEYWORDS = ("computer", "sunshine")
_ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-029")
# Voices of espeak-ng; each is in one part.
_VARIANTS = {
    "train": "m1 m2 m3 m4 m5 f1 f2 f3 Alex Andy Annie Lee Michael adam anika antonio belinda "
    "benjamin boris caleb david ed edward iven",
    "tuning": "m6 f4 Gene Mike Andrea john linda max",
    "testing": "m7 f5 Mario Denis steph rob travis shelby paul pablo",
}
_COMMON = (
    "commuter competitor sunset sunny morning window water people because number "
    "another pictures together yesterday kitchen something open moonshine"
)
_WORDS = {
    "train": "committee company composer summer sunday shining garden paper letter music answer "
    "mountain river seven eleven please nothing market doctor winter computing pewter tutor future "
    "complete common company neuter shutter sunlight sunburn shiny china design sunroof machine "
    "outside believe minister number remind fortune guitar banana umbrella elephant battery "
    "telephone carpet engine window island language general hospital beautiful important "
    "interesting somebody Sunday combine son shine come pew other under thunder shoulder",
    "tuning": "conclude polluter recline someone sandwich fashion butter lesson police basket "
    "holiday chicken pepper quarter",
    "testing": "commander intruder confused suntan sometime ocean teacher finger travel remember "
    "pocket hundred student nature",
}
_SENTENCES = (
    "the train to the coast leaves at half past nine every morning",
    "she asked for a cup of tea and some bread with butter",
    "we have never seen so many birds over the old harbour",
    "please put the boxes next to the door before you go home",
    "nobody knew why the road had been closed for a week",
    "it may rain later but the wind will bring clear air tonight",
)
_BABBLE_VOICES = 5
_BABBLE_POOL = 8  # of the voices of a part
_SNR_DB = (8.0, 20.0)
_SENTENCE_SHARE = 0.1
_GAIN_DB = 6.0
_PAUSE_S = (0.2, 1.5)
_LEVEL = 0.05  # effective value of a word


def voices_of(part: str) -> list[Voice]:
    """The voices of a part, the same in each run."""
    rng = np.random.default_rng(len(part))
    return [
        Voice(
            f"{_ACCENTS[rng.integers(len(_ACCENTS))]}+{variant}",
            int(rng.integers(25, 75)),
            int(rng.integers(130, 200)),
        )
        for variant in _VARIANTS[part].split()
        for _ in range(2 if part == "train" else 1)
    ]


def speech_stream(part: str, seconds: float, fraction: float, rng: np.random.Generator) -> Stream:
    """Words with pauses between them, and babble of other voices.

    Args:
        part: "train", "tuning" or "testing".
        seconds: length.
        fraction: of keywords among the words.
        rng: of the draws.

    Returns:
        samples (n,) in -1..1 at `RATE`, with the keywords as events.
    """
    voices = voices_of(part)
    clean = join_pieces(_words(part, voices, fraction, rng), seconds, RATE)
    snr_db = rng.uniform(*_SNR_DB)
    noise = babble(voices, len(clean.samples), rng) * (_LEVEL * 10 ** (-snr_db / 20))
    return Stream((clean.samples + noise).astype(np.float32), clean.events, RATE)


def babble(voices: list[Voice], samples: int, rng: np.random.Generator) -> Array:
    """Several voices that talk at once, (samples,) of effective value 1."""
    total = np.zeros(samples)
    for _ in range(_BABBLE_VOICES):
        voice = voices[rng.integers(min(len(voices), _BABBLE_POOL))]
        order = rng.permutation(len(_SENTENCES))[:3]
        talk = np.concatenate([speak(_SENTENCES[n], voice) for n in order])
        repeated = np.resize(talk, samples)
        total += np.roll(repeated, int(rng.integers(samples))) / effective(talk)
    return total / effective(total)


def effective(samples: Array) -> float:
    """The root mean square; above 0."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))) + 1e-9)


def _words(
    part: str, voices: list[Voice], fraction: float, rng: np.random.Generator
) -> Iterator[tuple[Array, str | None]]:
    words = (_COMMON + " " + _WORDS[part]).split()
    while True:
        yield np.zeros(int(rng.uniform(*_PAUSE_S) * RATE)), None
        is_keyword = rng.random() < fraction
        others = _SENTENCES if rng.random() < _SENTENCE_SHARE else words
        word = str(rng.choice(KEYWORDS if is_keyword else others))
        samples = speak(word, voices[rng.integers(len(voices))])
        gain = 10 ** (rng.uniform(-_GAIN_DB, _GAIN_DB) / 20)
        yield samples * (gain * _LEVEL / effective(samples)), word if is_keyword else None
