"""Folders of sound: encodings, rates, front ends and disturbed copies."""

import wave

import numpy as np
import pytest
from kgated_edge import FrontEnd

from kgated.data import (
    BuildOptions,
    FrontEndOptions,
    LabelOptions,
    SensorAugmentation,
    SoundAugmentation,
    load_npz,
    wav_to_npz,
)
from kgated.data.reading.sound_folder import at_rate, read_sound

soundfile = pytest.importorskip("soundfile", reason="the extra `data` is not installed")


def tone(hz, count=4000, rate=8000, seed=0):
    noise = np.random.default_rng(seed).normal(0, 200, count)
    return np.rint(6000 * np.sin(2 * np.pi * hz * np.arange(count) / rate) + noise).astype(np.int16)


def write_wav(path, samples, rate=8000):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())


@pytest.fixture
def folder(tmp_path):
    for label, hz in (("high", 2000), ("low", 300)):
        for n in range(4):
            write_wav(tmp_path / "in" / label / f"{n}.wav", tone(hz, seed=n))
    return tmp_path / "in"


@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [
        ("wav", "PCM_U8"),
        ("wav", "PCM_16"),
        ("wav", "PCM_24"),
        ("wav", "PCM_32"),
        ("wav", "FLOAT"),
        ("flac", "PCM_16"),
        ("flac", "PCM_24"),
    ],
)
def test_every_encoding_is_read_as_soundfile_reads_it(tmp_path, suffix, subtype):
    stereo = np.stack([tone(500), tone(900, seed=1)], axis=1) / 32768
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, stereo, 22050, subtype=subtype)
    rate, samples = read_sound(path)
    expected = soundfile.read(path, always_2d=True)[0].mean(axis=1) * 32768
    assert rate == 22050
    assert np.abs(samples - expected).max() <= 0.5
    assert np.abs(samples - stereo.mean(axis=1) * 32768).max() <= (260 if "U8" in subtype else 1)


def test_frames_are_those_of_the_device(folder, tmp_path):
    options = FrontEndOptions(kind="pcen", frame_ms=32, mels=20, deltas=1)
    parts = wav_to_npz(
        folder, tmp_path / "out.npz", options, options=BuildOptions(split={"test": 0.25})
    )
    data = load_npz(parts[1].path)
    spec = data.info.front_end
    assert (spec.rate, spec.window, spec.hop, spec.features) == (8000, 256, 80, 40)
    assert data.info.sample_period_s == 0.01
    assert data.info.class_names == ("high", "low")
    for x, length, group in zip(data.x, data.lengths, data.groups, strict=True):
        samples = read_sound(folder / group.partition("#")[0])[1]
        assert FrontEnd(spec)(samples).tobytes() == x[:length].tobytes()


def test_standardization_is_of_the_training_data_and_in_the_front_end(folder, tmp_path):
    split = BuildOptions(split={"test": 0.25}, window=0.1)
    train, test = wav_to_npz(folder, tmp_path / "o.npz", options=split, standardize=True)
    data, held = load_npz(train.path), load_npz(test.path)
    frames = data.x.reshape(-1, 40)
    np.testing.assert_allclose(frames.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(frames.std(axis=0), 1, atol=1e-3)
    assert held.info.front_end == data.info.front_end
    samples = read_sound(folder / held.groups[0].partition("#")[0])[1]
    assert (FrontEnd(held.info.front_end)(samples)[:10] == held.x[0]).all()


def test_copies_are_for_training_alone_and_follow_their_seed(folder, tmp_path):
    write_wav(tmp_path / "noise" / "hum.wav", tone(50, count=900))
    text = f"noise={tmp_path / 'noise'},snr=0:10,gain=-6:6,shift=0.05,copies=2"

    def make(text):
        options = BuildOptions(split={"test": 0.25})
        augmentation = SoundAugmentation.parse(text)
        parts = wav_to_npz(folder, tmp_path / "o.npz", options=options, augmentation=augmentation)
        return [load_npz(part.path) for part in parts]

    (train, test), again, third = make(text), make(text), make(f"{text},seed=1")
    assert (len(train), len(test)) == (6 * 3, 2)
    assert (train.x == again[0].x).all()
    assert (train.x[:6] == third[0].x[:6]).all()
    assert (train.x[6:] != third[0].x[6:]).any()
    assert not set(train.groups) & set(test.groups)
    assert np.bincount(train.y).tolist() == [9, 9]


def test_noise_has_the_signal_to_noise_ratio_and_gain_its_decibels():
    x, noise = tone(440, 8000), tone(1234, 500).astype(float) / 32768
    noisy = SoundAugmentation(snr=(10.0, 10.0))(x, 8000, [noise], (0, 0)).astype(float) - x
    ratio = np.mean(x.astype(float) ** 2) / np.mean(noisy**2)
    assert 10 * np.log10(ratio) == pytest.approx(10, abs=0.1)
    quiet = SoundAugmentation(gain=(-6.0, -6.0))(x, 8000, [], (0, 0))
    assert np.std(x) / np.std(quiet) == pytest.approx(10 ** (6 / 20), rel=1e-3)
    moved = SoundAugmentation(shift=0.1, seed=3)(x, 8000, [], (0, 0))
    lags = [
        np.argmax(
            np.correlate(moved[2000:6000].astype(float), x[2000 - 800 : 6000 + 800].astype(float))
        )
    ]
    assert lags[0] != 800
    assert (moved == 0).sum() > 20


def test_resampling_keeps_a_tone():
    low = at_rate(tone(440, 16000, rate=16000), 16000, 8000)
    expected = 6000 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)
    assert len(low) == 8000
    assert np.corrcoef(low[100:-100], expected[100:-100])[0, 1] > 0.995


def test_flat_refusals_in_one_sentence(folder, tmp_path):
    out = tmp_path / "out.npz"

    def refusal(*arguments, **options):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared by the caller
            wav_to_npz(folder, out, *arguments, **options)
        assert "\n" not in str(caught.value)
        assert not out.exists()
        return str(caught.value)

    write_wav(folder / "low" / "z.wav", tone(300, rate=16000), rate=16000)
    assert "mixed rates: this file has 16000 Hz" in refusal()
    assert wav_to_npz(folder, tmp_path / "ok.npz", FrontEndOptions(rate=8000))[0].sequences == 9
    intact = (folder / "low" / "0.wav").read_bytes()
    for content, message in (
        (b"", "z.wav: the file is empty"),
        (intact[:2000], "z.wav: the WAV file is cut short: 978 of 4000 samples are there"),
        (b"time,x\n0,1\n" * 9, "z.wav: this is not a WAV file"),
    ):
        (folder / "low" / "z.wav").write_bytes(content)
        assert message in refusal()
    write_wav(folder / "low" / "z.wav", tone(300, count=100))
    assert "z.wav: 100 samples are fewer than one frame of 200" in refusal()
    (folder / "low" / "z.wav").unlink()
    soundfile.write(folder / "low" / "z.flac", tone(300) / 32768, 8000)
    content = (folder / "low" / "z.flac").read_bytes()
    (folder / "low" / "z.flac").write_bytes(content[: len(content) // 2])
    assert "z.flac: " in refusal()
    (folder / "low" / "z.flac").unlink()
    assert "is for CSV files" in refusal(labels=LabelOptions(column="x"))
    assert "high_hz" in refusal(FrontEndOptions(high_hz=5000.0))


def test_sensors_are_disturbed_within_bounds_and_padding_stays_zero(rng):
    x = np.ones((64, 50, 2), np.float32)
    lengths = np.full(64, 40)
    y = SensorAugmentation(scaling=0.2)(x, lengths, np.ones(2), np.random.default_rng(0))
    assert not y[:, 40:].any()
    factors = y[:, 0]
    assert np.exp(-0.2) <= factors.min() < 0.85
    assert 1.15 < factors.max() <= np.exp(0.2) + 1e-6
    assert (y[:, :40] == y[:, :1]).all()
    noisy = SensorAugmentation(jitter=0.1)(
        x, lengths, np.array([1.0, 5.0]), np.random.default_rng(0)
    )
    assert noisy[:, :40].std(axis=(0, 1)) == pytest.approx([0.1, 0.5], rel=0.05)
    ramp = np.tile(np.arange(50, dtype=np.float32)[:, None], (64, 1, 2))
    held = SensorAugmentation(drop=0.3)(ramp, lengths, np.ones(2), np.random.default_rng(0))
    steps = np.diff(held[:, :40, 0], axis=1)
    assert (held[:, :40, 0] <= np.arange(40)).all()
    assert np.mean(steps == 0) == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jitter=x", "`jitter` must be a number"),
        ("wobble=1", "must be NAME=VALUE of jitter, scaling, drop"),
        ("drop=1", "`drop` below 1"),
        ("noise=rain,snr=5:20", "noise, snr act on sound before its front end"),
    ],
)
def test_bad_options_of_augmentation_say_the_way_out(text, message):
    with pytest.raises(ValueError, match=message):
        SensorAugmentation.parse(text)


def test_librosa_agrees_with_mfcc_and_pcen():
    librosa = pytest.importorskip("librosa", reason="librosa is not installed: not compared")
    from kgated_edge import FrontEndSpec
    from kgated_edge.format.front_end import pcen_parameters

    samples = tone(440, 16000, rate=16000)
    energies = np.exp(FrontEnd(FrontEndSpec())(samples).astype(np.float64))
    mfcc = FrontEnd(FrontEndSpec(kind="mfcc", coefficients=13))(samples)
    decibels = librosa.feature.mfcc(S=10 * np.log10(energies.T), n_mfcc=13).T
    np.testing.assert_allclose(mfcc, decibels * np.log(10) / 10, atol=1e-3)
    pcen = FrontEnd(FrontEndSpec(kind="pcen", pcen=pcen_parameters()))(samples)
    weight = (np.sqrt(1 + 4 * 40**2) - 1) / (2 * 40**2)
    options = {"sr": 16000, "hop_length": 160, "gain": 0.98, "bias": 2, "power": 0.5, "eps": 1e-9}
    start = ((1 - weight) * energies[:1]).T
    expected = librosa.pcen(energies.T, time_constant=0.4, zi=start, **options).T
    np.testing.assert_allclose(pcen, expected, atol=1e-3)
