"""WAV files of every kind become the same mono int16; damaged ones are refused in one sentence."""

import io
import struct
import wave

import numpy as np
import pytest
from kgated_edge import DataError, LogMel
from kgated_edge.ingest.audio import wav_frames
from kgated_edge.ingest.wav_files import read_wav

LIST = b"LIST\x0e\0\0\0INFOISFT\2\0\0\0ab"


def riff(content, code, bits, channels=1, rate=16000, size=None, width=None):
    """A WAV file with a chunk of another program before the samples."""
    width = channels * bits // 8 if width is None else width
    layout = struct.pack("<HHIIHH", code, channels, rate, rate * width, width, bits)
    size = len(content) if size is None else size
    chunks = b"fmt " + struct.pack("<I", 16) + layout + b"LIST" + struct.pack("<I", 3) + b"abc\0"
    chunks += b"data" + struct.pack("<I", size) + content
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def packed(samples, kind):
    """int16 samples in another encoding that holds them exactly."""
    integers = samples.astype(np.int64)
    if kind == 24:
        return b"".join(int(value << 8).to_bytes(3, "little", signed=True) for value in integers)
    if kind == 32:
        return (integers << 16).astype("<i4").tobytes()
    if kind == "float":
        return (samples / 32768).astype("<f4").tobytes()
    return samples.astype("<i2").tobytes()


@pytest.fixture
def samples(rng):
    return rng.integers(-32768, 32768, 500).astype(np.int16)


@pytest.mark.parametrize(
    ("kind", "code", "bits"), [(16, 1, 16), (24, 1, 24), (32, 1, 32), ("float", 3, 32)]
)
def test_wider_encodings_hold_the_same_samples(samples, tmp_path, kind, code, bits):
    path = tmp_path / "a.wav"
    path.write_bytes(riff(packed(samples, kind), code, bits))
    rate, read = read_wav(path)
    assert rate == 16000
    assert read.dtype == np.int16
    assert (read == samples).all()


def test_8_bits_are_unsigned(tmp_path):
    (tmp_path / "a.wav").write_bytes(riff(bytes([0, 128, 255]), 1, 8))
    assert read_wav(tmp_path / "a.wav")[1].tolist() == [-32768, 0, 127 * 256]


def test_channels_are_averaged(samples, tmp_path):
    second_channel = np.roll(samples, 7)
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((2, 2, 8000, 0, "NONE", ""))
        file.writeframes(np.stack([samples, second_channel], axis=1).astype("<i2").tobytes())
    rate, read = read_wav(tmp_path / "a.wav")
    assert rate == 8000
    assert (read == np.rint((samples.astype(float) + second_channel) / 2)).all()


def test_a_size_that_was_not_known_yet_means_up_to_the_end(samples, tmp_path):
    (tmp_path / "a.wav").write_bytes(riff(packed(samples, 16), 1, 16, size=0xFFFFFFFF))
    assert (read_wav(tmp_path / "a.wav")[1] == samples).all()


def test_chunks_after_the_samples_are_no_samples(samples, tmp_path):
    path, content = tmp_path / "a.wav", packed(samples, 16)
    empty = riff(b"", 1, 16) + LIST
    path.write_bytes(b"RIFF" + struct.pack("<I", len(empty) - 8) + empty[8:])
    assert len(read_wav(path)[1]) == 0
    long = b"ds64" + struct.pack("<IQQQI", 28, 0, len(content), len(samples), 0)
    wav = riff(content, 1, 16, size=0xFFFFFFFF)
    path.write_bytes(b"RF64\xff\xff\xff\xffWAVE" + long + wav[12:] + LIST)
    assert (read_wav(path)[1] == samples).all()


def test_samples_that_a_recorder_did_not_count_are_read(samples, tmp_path):
    wav = riff(packed(samples, 16), 1, 16, size=0)
    header = len(wav) - 2 * len(samples)
    (tmp_path / "a.wav").write_bytes(b"RIFF" + struct.pack("<I", header - 8) + wav[8:])
    assert (read_wav(tmp_path / "a.wav")[1] == samples).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (riff(b"\0" * 96, 1, 24, width=4), "1 channels of 24 bits stand in 4 bytes"),
        (b"", "the file is empty"),
        (b"a,b\n1,2\n" * 9, "this is not a WAV file"),
        (riff(b"\0" * 1000, 1, 16)[:700], "cut short: 322 of 500 samples are there"),
        (riff(b"\0" * 1000, 1, 16)[:30], "cut short in its header"),
        (riff(b"\0" * 8, 6, 8), "encoding 6 with 8 bits"),
        (riff(b"\0" * 8, 1, 16, channels=0), "0 channels"),
        (riff(struct.pack("<f", float("nan")), 3, 32), "NaN or inf"),
    ],
)
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path, content, message):
    path = tmp_path / "bad.wav"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_wav(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def longer(wav, behind):
    """A WAV file with further chunks."""
    return b"RIFF" + struct.pack("<I", len(wav) + len(behind) - 8) + wav[8:] + behind


SECOND = b"data\x02\0\0\0\1\1"
FURTHER = {
    "a chunk": (longer(riff(b"\0" * 8000, 1, 16), SECOND), "a second chunk of samples follows"),
    "after text": (longer(riff(b"\0" * 801, 1, 8), b"\0" + LIST + SECOND), "a second chunk of"),
    "the first empty": (longer(riff(b"", 1, 16), SECOND), "a second chunk of samples"),
    "a file": (riff(b"\0" * 8000, 1, 16) * 2, "a second WAV file follows the first"),
}


@pytest.mark.parametrize(("content", "message"), FURTHER.values(), ids=FURTHER)
def test_further_samples_are_refused_before_the_first_frame_of_a_file(tmp_path, content, message):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.wav: {message}"):
        read_wav(tmp_path / "a.wav")
    with pytest.raises(DataError, match=message):
        next(wav_frames(io.BytesIO(content), lambda rate: LogMel(mels=5)))


@pytest.mark.parametrize(("content", "message"), FURTHER.values(), ids=FURTHER)
def test_further_samples_in_a_pipe_are_refused_after_its_last_frame(content, message):
    frames = wav_frames(Pipe(content), lambda rate: LogMel(mels=5))
    with pytest.raises(DataError, match=message):
        list(frames)


class Pipe(io.BytesIO):
    """A stream that cannot go back."""

    def seekable(self):
        return False

    def seek(self, *arguments):
        raise io.UnsupportedOperation("seek")


@pytest.mark.parametrize("stream", [io.BytesIO, Pipe])
@pytest.mark.parametrize(("code", "bits"), [(1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64)])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_device_reads_the_samples_of_the_training(rng, tmp_path, stream, code, bits, channels):
    kind = np.dtype(f"<f{bits // 8}") if code == 3 else None
    count = 6000 * channels
    values = rng.uniform(-1.1, 1.1, count)
    content = rng.bytes(count * bits // 8) if kind is None else values.astype(kind).tobytes()
    path, front_end = tmp_path / "a.wav", LogMel(mels=5)
    path.write_bytes(riff(content, code, bits, channels) + b"LIST\4\0\0\0text")
    frames = list(wav_frames(stream(path.read_bytes()), lambda rate: front_end))
    assert len(frames) > 20
    assert np.array_equal(np.array(frames), front_end(read_wav(path)[1]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (riff(b"\0" * 8000, 1, 16)[:4000], "cut short: 1972 of 4000 samples are there"),
        (riff(b"\0" * 8000, 1, 16, rate=0), "1 channels and 0 Hz are not read"),
        (riff(b"\0" * 8000, 1, 12), "12 bits"),
        (riff(b"\0" * 8000, 1, 16, channels=0), "0 channels"),
        (b"", "the file is empty"),
    ],
)
def test_a_damaged_recording_is_refused_before_its_first_step(
    error, speech, tmp_path, content, message
):
    (tmp_path / "a.wav").write_bytes(content)
    labels = tmp_path / "labels.csv"
    labels.write_text("file,start,end,label\n")
    options = ("--data", tmp_path / "a.wav", "--events", labels, "--low-hz", 0)
    text = error("check", speech, *options)
    assert "a.wav: " in text
    assert message in text


def test_damage_never_ends_in_anything_but_a_data_error(samples, tmp_path, rng):
    path, intact = tmp_path / "bad.wav", bytearray(riff(packed(samples, 16), 1, 16))
    for _ in range(300):
        damaged = intact.copy()
        for place in rng.integers(0, 60, 3):
            damaged[place] = rng.integers(256)
        path.write_bytes(bytes(damaged[: rng.integers(1, len(damaged))]))
        try:
            rate, read = read_wav(path)
        except DataError:
            continue
        assert read.dtype == np.int16
        assert rate > 0
