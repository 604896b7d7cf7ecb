"""Resampling: against SciPy's, in chunks as whole, and the kinds of WAV files."""

import io
import json
import wave

import numpy as np
import pytest
from extra_packages import required
from kgated_edge import DataError, EdgeModel, LogMel
from kgated_edge.ingest.audio import wav_frames
from kgated_edge.ingest.resample import Resampler

RATES = [(44100, 16000), (48000, 16000), (8000, 16000), (16000, 22050), (11025, 16000)]


def tones(rate, seconds=0.5):
    """Five tones below 3 kHz, fading in and out, as 16-bit samples."""
    time = np.arange(round(rate * seconds)) / rate
    sound = sum(np.sin(2 * np.pi * hz * time + hz) for hz in (110, 440, 1000, 1900, 3000))
    return np.rint(4000 * sound * (0.5 - 0.5 * np.cos(2 * np.pi * time / seconds))).astype(np.int16)


def resample(samples, source, target):
    resampler = Resampler(source, target)
    return np.concatenate([resampler.push(samples), resampler.finish()])


@pytest.mark.parametrize(("source", "target"), RATES)
def test_tones_are_the_same_tones_at_the_other_rate(source, target):
    resampled, expected = resample(tones(source), source, target), tones(target)
    assert abs(len(resampled) - len(expected)) <= 1
    size = min(len(resampled), len(expected))
    difference = resampled[:size].astype(float) - expected[:size]
    assert np.sqrt((difference**2).mean()) < 1.0  # -85 dB of the tones
    shifted = expected[1:size].astype(float) - resampled[: size - 1]
    assert np.sqrt((shifted**2).mean()) > 100


@pytest.mark.parametrize(("source", "target"), RATES)
def test_noise_is_filtered_as_scipy_does(rng, source, target):
    signal = required("scipy.signal")
    samples = rng.normal(0, 3000, source // 4).astype(np.int16)
    divisor = np.gcd(source, target)
    expected = signal.resample_poly(samples.astype(float), target // divisor, source // divisor)
    resampled = resample(samples, source, target).astype(float)
    assert len(resampled) == len(expected)
    # Their transition bands differ; below, the spectra agree.
    band = int(0.85 * min(source, target) / 2 / (target / len(expected)))
    spectra = np.abs([np.fft.rfft(x * np.hanning(len(x))) for x in (resampled, expected)])
    difference = np.linalg.norm(spectra[0, :band] - spectra[1, :band])
    assert difference < 0.02 * np.linalg.norm(spectra[1, :band])


def test_what_is_above_half_the_rate_is_gone():
    time = np.arange(48000) / 48000
    tone = np.rint(20000 * np.sin(2 * np.pi * 9000 * time)).astype(np.int16)
    assert np.abs(resample(tone, 48000, 16000)[200:-200]).max() <= 3  # -76 dB


@pytest.mark.parametrize(("source", "target"), RATES)
def test_chunks_give_the_bits_of_the_whole(rng, source, target):
    samples = rng.integers(-32768, 32767, 5000, np.int16)
    expected, resampler, parts, at = (
        resample(samples, source, target),
        Resampler(source, target),
        [],
        0,
    )
    while at < len(samples):
        size = int(rng.integers(1, 400))
        parts.append(resampler.push(samples[at : at + size]))
        at += size
    assert np.array_equal(np.concatenate([*parts, resampler.finish()]), expected)


def test_a_constant_stays_and_full_scale_saturates():
    constant = np.full(2000, 32767, np.int16)
    assert set(resample(constant, 44100, 16000)[200:-200].tolist()) == {32767}


def test_rates_with_a_huge_filter_are_refused_with_a_command():
    with pytest.raises(DataError, match=r"sox IN.wav -r 15991 -c 1 -b 16 OUT.wav"):
        Resampler(192001, 15991)


def wav(samples, rate=16000, channels=1, width=2):
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((channels, width, rate, 0, "NONE", ""))
        sound.writeframes(samples.tobytes())
    return file.getvalue()


def frames_in(content, front_end):
    frames = list(wav_frames(io.BytesIO(content), lambda rate: front_end))
    return np.array(frames)


def test_wav_files_of_every_width_and_of_two_channels(rng):
    samples, front_end = tones(16000), LogMel(mels=8)
    expected = front_end(samples)
    samples_32bit = samples.astype("<i4") << 16
    bytes24 = (samples.astype("<i4") << 8).view(np.uint8).reshape(-1, 4)[:, :3]
    stereo = np.stack([samples - 100, samples + 100], axis=1)
    for content in (
        wav(samples),
        wav(samples_32bit, width=4),
        wav(bytes24, width=3),
        wav(stereo, channels=2),
    ):
        assert np.array_equal(frames_in(content, front_end), expected)
    coarse = ((samples >> 8) + 128).astype(np.uint8)
    expected = front_end(((samples >> 8) << 8).astype(np.int16))
    assert np.array_equal(frames_in(wav(coarse, width=1), front_end), expected)


def test_audio_of_another_rate_is_resampled(command, speech, tmp_path):
    samples, path = tones(44100), tmp_path / "a.wav"
    path.write_bytes(wav(np.stack([samples, samples], axis=1), 44100, 2))
    code, out, _ = command("live", speech, path, "--rate", 16000, "--low-hz", 0)
    assert code == 0
    front_end = LogMel(mels=3, low_hz=0.0)
    expected = EdgeModel(speech).run(front_end(resample(samples, 44100, 16000)))
    outputs = [json.loads(line)["outputs"]["output"] for line in out.splitlines()]
    assert np.array_equal(np.array(outputs, np.float32), expected)
    raw = tmp_path / "a.pcm"
    raw.write_bytes(samples.astype("<i2").tobytes())
    options = ("--rate", 16000, "--input-rate", 44100, "--low-hz", 0)
    assert command("live", speech, raw, *options)[1] == out


def test_wav_files_of_unknown_encodings_are_refused_with_a_command(command, speech, tmp_path):
    path, content = tmp_path / "f.wav", bytearray(wav(tones(16000)))
    content[20:22] = b"\3\0"  # the format: IEEE float, of 16 bits
    path.write_bytes(content)
    code, _, err = command("live", speech, path)
    assert code == 2
    assert "`sox IN.wav -b 16 -e signed-integer OUT.wav`" in err
