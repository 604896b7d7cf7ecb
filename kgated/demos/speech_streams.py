"""Streams of synthetic speech: words, pauses, and babble of other voices behind them."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np

from kgated.data.reading.recording import resampled
from kgated.demos import espeak
from kgated.demos.espeak import Voice, speak, speak_all
from kgated.demos.speech_words import KEYWORDS, SENTENCES, no_keyword
from kgated.demos.streams import Array, Stream, join_pieces

RATE = 16_000
_ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-029")
# Voices of espeak-ng; each is in one part.
_VARIANTS = {
    "train": "m1 m2 m3 m4 m5 m8 f1 f2 f3 Alex Alicia Andy Annie Henrique Hugo Jacky Lee Marco "
    "Michael Nguyen adam anika antonio aunty belinda benjamin boris caleb david ed edward edward2 "
    "grandma grandpa iven iven2 iven3 iven4 kaukovalta klatt klatt2 klatt3 michel norbert pedro "
    "quincy victor AnxiousAndy announcer Storm Demonic robert Tweaky croak klatt4 klatt5 klatt6 "
    "UniRobot RicishayMax robosoft",
    "tuning": "m6 f4 Gene Mike Andrea john linda max sandro miguel gustave marcelo Diogo zac",
    "testing": "m7 f5 Mario Denis steph rob travis shelby paul pablo",
}
# Of the training alone: the texts of each of many voices, heard at other speeds and pitches.
_SPEAKERS, _KEYWORDS_EACH, _OTHERS_EACH = 1200, 4, 10
_STRETCH = (0.85, 1.18)
_COLOR_DB = 6.0
_COLOR_BANDS = 6
_TRAIN_PAUSE_S = (0.1, 0.7)
_PITCHES = (15, 85)
_WORDS_PER_MINUTE = (120, 210)
_BABBLE_VOICES = 5
_BABBLE_POOL = 8  # voices of a part
_SNR_DB = (8.0, 20.0)
_GAIN_DB = 6.0
_PAUSE_S = (0.2, 1.5)
_LEVEL = 0.05  # effective value of a word


def voice_of(part: str, rng: np.random.Generator) -> Voice:
    """A random voice of a part: accent, variant, pitch and speed."""
    return Voice(
        f"{rng.choice(_ACCENTS)}+{rng.choice(_VARIANTS[part].split())}",
        int(rng.integers(*_PITCHES)),
        int(rng.integers(*_WORDS_PER_MINUTE)),
    )


def speech_stream(part: str, seconds: float, fraction: float, rng: np.random.Generator) -> Stream:
    """Words with pauses between them, and babble of other voices.

    Args:
        part: "train", "tuning" or "testing".
        seconds: length.
        fraction: of keywords among the words.
        rng: of the draws.

    Returns:
        samples (n,) in -1..1 at `RATE`; the events are all that is said, their labels the words.
    """
    clean = join_pieces(_utterances(part, fraction, rng), seconds, RATE)
    snr_db = rng.uniform(*_SNR_DB)
    noise = babble(part, len(clean.samples), rng) * (_LEVEL * 10 ** (-snr_db / 20))
    return Stream((clean.samples + noise).astype(np.float32), clean.events, RATE)


def babble(part: str, samples: int, rng: np.random.Generator) -> Array:
    """Several voices of a part that talk at once, (samples,) of effective value 1."""
    pool_rng = np.random.default_rng(len(part))
    pool = [voice_of(part, pool_rng) for _ in range(_BABBLE_POOL)]
    total = np.zeros(samples, np.float32)
    for _ in range(_BABBLE_VOICES):
        voice = pool[rng.integers(len(pool))]
        order = rng.permutation(len(SENTENCES))[:3]
        talk = np.concatenate([said(SENTENCES[n], voice) for n in order])
        place = int(rng.integers(len(talk)))
        total += np.resize(np.roll(talk, place) / effective(talk), samples)
    return total / effective(total)


@cache
def said(text: str, voice: Voice) -> Array:
    """What a voice says: samples (n,) float32 at `RATE`."""
    return _at_rate(speak(text, voice))


def _at_rate(samples: Array) -> Array:
    return resampled(samples, espeak.RATE, RATE).astype(np.float32)


def effective(samples: Array) -> float:
    """The root mean square; above 0."""
    return float(np.sqrt(np.dot(samples, samples) / len(samples)) + 1e-9)


def _utterances(
    part: str, fraction: float, rng: np.random.Generator
) -> Iterator[tuple[Array, str | None]]:
    is_training = part == "train"
    while True:
        pause_s = rng.uniform(*(_TRAIN_PAUSE_S if is_training else _PAUSE_S))
        yield np.zeros(int(pause_s * RATE)), None
        is_keyword = rng.random() < fraction
        if is_training:
            bank = _bank(is_keyword)
            text, samples = bank[rng.integers(len(bank))]
            samples = stretched(samples, rng.uniform(*_STRETCH))
            samples = colored(samples, rng)
        else:
            text, voice = _drawn(part, is_keyword, rng)
            samples = said(text, voice)
        gain = 10 ** (rng.uniform(-_GAIN_DB, _GAIN_DB) / 20)
        yield samples * (gain * _LEVEL / effective(samples)), text


def stretched(samples: Array, factor: float) -> Array:
    """Samples played faster by a factor: higher, and with other formants, as of another speaker."""
    places = np.arange(0, len(samples) - 1, factor)
    return np.interp(places, np.arange(len(samples)), samples).astype(np.float32)


def colored(samples: Array, rng: np.random.Generator) -> Array:
    """Samples through a filter with random gains in bands, as of another mouth and microphone."""
    spectrum = np.fft.rfft(samples)
    bands = np.geomspace(1, len(spectrum), _COLOR_BANDS)
    gains_db = np.interp(
        np.log(np.arange(len(spectrum)) + 1.0),
        np.log(bands),
        rng.uniform(-_COLOR_DB, _COLOR_DB, _COLOR_BANDS),
    )
    return np.fft.irfft(spectrum * 10 ** (gains_db / 20), len(samples)).astype(np.float32)


@cache
def _bank(is_keyword: bool) -> list[tuple[str, Array]]:
    """What the speakers of the training say: texts and samples."""
    return [
        (text, samples)
        for speaker in speakers()
        for text, samples in speaker
        if (text in KEYWORDS) == is_keyword
    ]


@cache
def speakers() -> list[list[tuple[str, Array]]]:
    """The speakers of the training: what each says, and how it sounds."""
    # The time goes into espeak-ng's processes.
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(_speaker, range(_SPEAKERS)))


def forget_speakers() -> None:
    """Release the memory of what the speakers say, more than a gigabyte."""
    for cached in (speakers, _bank):
        cached.cache_clear()


def _speaker(number: int) -> list[tuple[str, Array]]:
    """A speaker's texts, and how they sound."""
    rng = np.random.default_rng((len(KEYWORDS), number))
    voice = voice_of("train", rng)
    texts = [str(rng.choice(KEYWORDS)) for _ in range(_KEYWORDS_EACH)]
    texts += [no_keyword("train", rng) for _ in range(_OTHERS_EACH)]
    sounds = speak_all(tuple(texts), voice)
    return [(text, _at_rate(sound)) for text, sound in zip(texts, sounds, strict=True)]


def _drawn(part: str, is_keyword: bool, rng: np.random.Generator) -> tuple[str, Voice]:
    """What is said next, and by whom."""
    text = str(rng.choice(KEYWORDS)) if is_keyword else no_keyword(part, rng)
    return text, voice_of(part, rng)
