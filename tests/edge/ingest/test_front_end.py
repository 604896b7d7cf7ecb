"""MFCC, PCEN and deltas: against float64 oracles, and the same bits however the sound comes."""

from dataclasses import replace

import numpy as np
import pytest
from kgated_edge import FrontEnd, FrontEndSpec, ManifestError
from kgated_edge.format.front_end import front_end_from_plain, pcen_parameters
from kgated_edge.ingest.exact_math import exp, integer_product, log, power

PCEN = pcen_parameters()
SPECS = [
    FrontEndSpec(),
    FrontEndSpec(kind="mfcc", coefficients=13, deltas=2),
    FrontEndSpec(kind="pcen", pcen=PCEN, rate=8000, window=256, hop=80, mels=20, deltas=1),
    FrontEndSpec(mels=4, hop=500, deltas=1, mean=(-5.0,) * 8, scale=(0.5,) * 8),
]


@pytest.fixture
def sound(rng):
    """Noise and a rising tone, one second."""
    n = np.arange(16000)
    tone = 8000 * np.sin(2 * np.pi * (0.01 + 2e-6 * n) * n)
    return np.rint(rng.normal(0, 2000, 16000) + tone).astype(np.int16)


def energies(samples, spec):
    """The energies of the bands (T, mels), by NumPy's FFT."""
    size = 1 << (spec.window - 1).bit_length()
    hann = np.hanning(spec.window + 1)[:-1]
    count = 1 + (len(samples) - spec.window) // spec.hop
    rows = np.array([samples[t * spec.hop : t * spec.hop + spec.window] for t in range(count)])
    spectrum = np.abs(np.fft.rfft(rows / 32768.0 * hann, size)) ** 2 / (hann.sum() / 2) ** 2
    scale = [2595 * np.log10(1 + hz / 700) for hz in (spec.low_hz, spec.rate / 2)]
    edges = 700 * (10 ** (np.linspace(*scale, spec.mels + 2) / 2595) - 1)
    hz = np.arange(size // 2 + 1) * spec.rate / size
    bands = [np.interp(hz, edges[m : m + 3], [0, 1, 0], left=0, right=0) for m in range(spec.mels)]
    return spectrum @ np.array(bands).T


def test_mfcc_is_the_orthonormal_cosine_transform_of_log_mel(sound):
    spec = FrontEndSpec(kind="mfcc", coefficients=13)
    logs = np.log(energies(sound, spec))
    angles = np.pi * np.outer(np.arange(40) + 0.5, np.arange(13)) / 40
    expected = logs @ (np.cos(angles) * np.sqrt(np.where(np.arange(13) == 0, 1, 2) / 40))
    frames = FrontEnd(spec)(sound)
    assert frames.dtype == np.float32
    np.testing.assert_allclose(frames, expected, atol=0.01)
    assert np.abs(frames[:, 1:] - expected[:, :-1]).max() > 1  # another order shows


def test_pcen_is_the_recursion_of_its_definition(sound):
    spec = FrontEndSpec(kind="pcen", pcen=PCEN)
    energy = energies(sound, spec)
    frames = 0.4 / 0.01
    weight = (np.sqrt(1 + 4 * frames**2) - 1) / (2 * frames**2)
    mean, expected = energy[0], []
    for row in energy:
        mean = (1 - weight) * mean + weight * row
        expected.append((row / (1e-9 + mean) ** 0.98 + 2) ** 0.5 - 2**0.5)
    np.testing.assert_allclose(FrontEnd(spec)(sound), expected, atol=0.01)
    louder = FrontEnd(spec)(np.clip(sound * 2, -32768, 32767).astype(np.int16))
    assert np.abs(louder - expected).mean() < 0.1  # gain is normalized away


def test_deltas_are_the_slope_of_the_last_five_frames(sound):
    frames = FrontEnd(FrontEndSpec(deltas=2))(sound).astype(np.float64)
    base, first, second = frames[:, :40], frames[:, 40:80], frames[:, 80:]
    for values, slopes in ((base, first), (first, second)):
        repeated = np.concatenate([np.repeat(values[:1], 4, axis=0), values])
        expected = [np.polyfit(np.arange(5), repeated[t : t + 5], 1)[0] for t in range(len(values))]
        np.testing.assert_allclose(slopes, expected, atol=1e-5)
    assert first.std() > 0.05


@pytest.mark.parametrize("spec", SPECS)
def test_pieces_give_the_same_bits(sound, spec):
    expected = FrontEnd(spec)(sound)
    assert expected.shape == (1 + (16000 - spec.window) // spec.hop, spec.features)
    stream = FrontEnd(spec).stream()
    parts = [stream.push(part) for part in np.split(sound, [1, 2, 500, 5001, 9000])]
    assert np.concatenate(parts).tobytes() == expected.tobytes()


def test_standardization_is_the_last_step(sound):
    plain = FrontEnd(SPECS[1])(sound)
    mean, scale = plain.mean(axis=0), 1 / plain.std(axis=0)
    spec = replace(SPECS[1], mean=tuple(map(float, mean)), scale=tuple(map(float, scale)))
    frames = FrontEnd(spec)(sound)
    np.testing.assert_allclose(frames.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(frames.std(axis=0), 1, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 5, 3), (4, 400, 257), (7, 4096, 70), (9, 257, 300)])
def test_a_product_in_blocks_is_that_of_integers(rng, shape):
    rows, size, columns = shape
    values = rng.integers(-(2**30), 2**30, (rows, size))
    table = rng.integers(-(2**10), 2**10, (size, columns))
    product = integer_product(values.astype(float), table.astype(float))
    assert np.array_equal(product, values @ table)


def test_exact_functions_are_those_of_mathematics(rng):
    x = rng.uniform(-600, 600, 20000)
    np.testing.assert_allclose(exp(x), np.exp(x), rtol=1e-14)
    y = np.exp(rng.uniform(-30, 30, 20000))
    np.testing.assert_allclose(log(y), np.log(y), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(power(y, -0.98), y**-0.98, rtol=1e-13)


@pytest.mark.parametrize("spec", SPECS)
def test_a_front_end_survives_json(spec):
    assert front_end_from_plain(spec.to_plain()) == spec


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"kind": "wavelet"}, "kind"),
        ({"rate": 0}, "rate"),
        ({"rate": True}, "rate"),
        ({"window": 5000}, "window"),
        ({"hop": 2**40}, "hop"),
        ({"mels": "40"}, "mels"),
        ({"low_hz": 9000.0}, "high_hz"),
        ({"high_hz": 8001.0}, "high_hz"),
        ({"high_hz": float("nan")}, "high_hz"),
        ({"coefficients": 13}, "coefficients"),
        ({"kind": "mfcc"}, "coefficients"),
        ({"kind": "mfcc", "coefficients": 41}, "coefficients"),
        ({"kind": "pcen"}, "pcen"),
        ({"kind": "pcen", "pcen": {**PCEN, "gain": 2.0}}, "gain"),
        ({"kind": "pcen", "pcen": {"gain": 0.9}}, "bias"),
        ({"deltas": 3}, "deltas"),
        ({"deltas": -1}, "deltas"),
        ({"mean": [0.0] * 40}, "scale"),
        ({"mean": [0.0] * 3, "scale": [1.0] * 3}, "mean"),
        ({"mean": [0.0] * 40, "scale": [0.0] * 40}, "scale"),
        ({"mean": [0.0] * 40, "scale": ["1"] * 40}, "scale"),
    ],
)
def test_a_front_end_that_breaks_a_rule_is_refused_by_field(changes, field):
    with pytest.raises(ManifestError, match=field):
        front_end_from_plain({**FrontEndSpec().to_plain(), **changes})


def test_a_missing_field_is_named():
    plain = FrontEndSpec().to_plain()
    del plain["hop"]
    with pytest.raises(ManifestError, match=r"front_end\.hop` is missing"):
        front_end_from_plain(plain)
