"""Log-mel frames: against an oracle with NumPy's FFT, and the same bits however the sound comes."""

import hashlib

import numpy as np
import pytest
from kgated_edge import DataError, EdgeError, LogMel

SETTINGS = [
    {},
    {"rate": 8000, "window": 256, "hop": 80, "mels": 20, "low_hz": 60.0, "high_hz": 3800.0},
    {"window": 640, "hop": 320, "mels": 64, "low_hz": 125.0, "high_hz": 7500.0},
    {"rate": 4000, "window": 100, "hop": 250, "mels": 8},
]


def oracle(samples, rate=16000, window=400, hop=160, mels=40, low_hz=20.0, high_hz=None):
    """The definition, in float64."""
    size = 1 << (window - 1).bit_length()
    hann = np.hanning(window + 1)[:-1]
    count = 1 + (len(samples) - window) // hop
    rows = np.array([samples[t * hop : t * hop + window] for t in range(count)]) / 32768.0
    power = np.abs(np.fft.rfft(rows * hann, size)) ** 2 / (hann.sum() / 2) ** 2
    scale = [2595 * np.log10(1 + hz / 700) for hz in (low_hz, high_hz or rate / 2)]
    edges = 700 * (10 ** (np.linspace(*scale, mels + 2) / 2595) - 1)
    hz = np.arange(size // 2 + 1) * rate / size
    bands = [np.interp(hz, edges[m : m + 3], [0, 1, 0], left=0, right=0) for m in range(mels)]
    return np.log(power @ np.array(bands).T)


@pytest.fixture
def sound(rng):
    """Noise, a rising tone, and near silence, 3000 samples of each."""
    n = np.arange(3000)
    tone = 20000 * np.sin(2 * np.pi * (0.01 + 4e-5 * n) * n)
    return np.rint(np.concatenate([rng.normal(0, 4000, 3000), tone])).astype(np.int16)


@pytest.mark.parametrize("setting", SETTINGS)
def test_features_equal_the_oracle(sound, setting):
    frames, expected = LogMel(**setting)(sound), oracle(sound, **setting)
    assert frames.shape == expected.shape
    assert frames.dtype == np.float32
    # Tables of 11 to 15 bits; far below the loudest band of a tone their error shows.
    heard = expected > expected.max(axis=1, keepdims=True) - np.log(1e6)
    assert heard.mean() > 0.5
    assert np.abs(frames - expected)[heard].max() <= 0.05
    loud = expected > expected.max(axis=1, keepdims=True) - np.log(1e2)
    assert np.abs(frames - expected)[loud].max() <= 0.01
    assert np.abs(frames[:-1] - expected[1:])[loud[1:]].max() > 0.5


def test_a_full_scale_sine_is_about_zero():
    tone = np.rint(32767 * np.sin(2 * np.pi * 1000 * np.arange(800) / 16000)).astype(np.int16)
    frames = LogMel()(tone)
    assert 0 <= frames.max() <= np.log(2)
    assert LogMel()(tone // 100).max() == pytest.approx(frames.max() - 2 * np.log(100), abs=0.01)


def test_silence_is_finite():
    frames = LogMel()(np.zeros(1000, np.int16))
    assert np.isfinite(frames).all()
    assert len(set(frames.ravel().tolist())) == 1
    assert frames[0, 0] == pytest.approx(-49 * np.log(2), rel=1e-6)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("piece", [1, 160, 161, 5000])
def test_pieces_give_the_same_bits(sound, setting, piece):
    front_end = LogMel(**setting)
    stream, sound = front_end.stream(), sound[:800] if piece == 1 else sound
    parts = [stream.push(sound[k : k + piece]) for k in range(0, len(sound), piece)]
    assert np.array_equal(np.concatenate(parts), front_end(sound))


def test_frames_come_as_soon_as_their_last_sample_is_there(sound):
    stream = LogMel().stream()
    assert [len(stream.push(sound[a:b])) for a, b in ((0, 399), (399, 400), (400, 560))] == [
        0,
        1,
        1,
    ]


def test_the_order_of_a_sum_changes_no_bit(sound, rng):
    """What makes machines agree: sums of whole numbers below 2**53 are exact in any order."""
    front_end = LogMel()
    order = rng.permutation(front_end.window)
    rows = sound[:400][None].astype(np.float64) * front_end._hann
    straight = rows @ front_end._cosines
    shuffled = rows[:, order] @ front_end._cosines[order]
    one_by_one = [
        sum(int(a) * int(b) for a, b in zip(rows[0], column, strict=True))
        for column in front_end._cosines.T[:40]
    ]
    assert np.array_equal(straight, shuffled)
    assert straight[0, :40].astype(int).tolist() == one_by_one
    assert not np.array_equal(
        (rows / 3) @ front_end._cosines, (rows / 3)[:, order] @ front_end._cosines[order]
    )


def test_a_long_sound_is_the_same_bits(sound):
    front_end = LogMel(window=256, hop=2, mels=8)
    frames = front_end(sound)
    assert len(frames) == 2873, "more than are computed at once"
    for first in (0, 1000, 1023, 1024, 2048, 2872):
        assert np.array_equal(frames[first], front_end(sound[2 * first : 2 * first + 256])[0])


@pytest.mark.parametrize("window", [1024, 4096])
def test_the_loudest_sound_stays_below_what_float64_holds(window):
    front_end = LogMel(window=window, low_hz=60.0)
    largest = 2.0**15 * front_end._hann[None] @ np.abs(front_end._cosines)
    assert largest.max() <= 2.0**53
    square = np.where(np.arange(window) % 64 < 32, 32767, -32768).astype(np.int16)
    assert np.isfinite(front_end(square)).all()
    assert front_end(square).max() < np.log(4)


def test_the_features_have_the_recorded_digest():
    """Made once on x86-64; another machine that gives others breaks the promise."""
    sound = (np.arange(4000) * 7919 % 20011 - 10005).astype(np.int16)
    digest = hashlib.sha256(LogMel()(sound).astype("<f4").tobytes()).hexdigest()
    assert digest == "6d4c97b812179e2d489b8b1aa67a2faca13c2c9a778a92f8d69f062bbc0c2db9"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"window": 0}, "`window` must be a whole number in 1..4096, got 0"),
        ({"window": 5000}, "`window` must be a whole number in 1..4096"),
        ({"hop": 1.5}, "`hop` must be a whole number"),
        ({"mels": True}, "`mels` must be a whole number"),
        ({"low_hz": "20"}, "`low_hz` must be a number of Hz, got '20'"),
        ({"low_hz": None}, "`low_hz` must be a number of Hz, got None"),
        ({"high_hz": [4000]}, r"`high_hz` must be a number of Hz, got \[4000\]"),
        ({"high_hz": 9000.0}, "must increase in 0..8000, half the rate, got 20.0 and 9000.0"),
        ({"low_hz": 8000.0}, "must increase"),
        ({"mels": 128}, "`mels`: band 3 of 128 contains no frequency"),
    ],
)
def test_settings_out_of_range(setting, message):
    with pytest.raises(EdgeError, match=message):
        LogMel(**setting)


@pytest.mark.parametrize("samples", [np.zeros(800), np.zeros((2, 800), np.int16), [0] * 800])
def test_samples_of_another_kind(samples):
    for take in (LogMel(), LogMel().stream().push):
        with pytest.raises(DataError, match="samples must be an array"):
            take(samples)


def test_a_sound_shorter_than_a_window():
    assert LogMel()(np.zeros(399, np.int16)).shape == (0, 40)
