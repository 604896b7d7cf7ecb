"""Front end, resampler and readers of files compute in Chromium what `ingest` computes."""

import io
import re
import wave
from functools import partial

import numpy as np
import pytest
from kgated_edge.errors import DataError
from kgated_edge.format.front_end import FrontEndSpec, pcen_parameters
from kgated_edge.format.tensor_spec import TensorSpec
from kgated_edge.ingest.audio import wav_frames
from kgated_edge.ingest.csv_frames import CsvColumns, csv_frames
from kgated_edge.ingest.front_end import FrontEnd
from kgated_edge.ingest.input_counts import REFUSE, InputCounts
from kgated_edge.ingest.resample import Resampler

pytestmark = pytest.mark.slow
SPECS = {
    "log-mel": FrontEndSpec(),
    "mfcc": FrontEndSpec(kind="mfcc", coefficients=13, deltas=2),
    "pcen": FrontEndSpec(
        kind="pcen", pcen=pcen_parameters(), rate=8000, window=256, hop=80, mels=20, deltas=1
    ),
    "standardized": FrontEndSpec(mels=4, hop=500, deltas=1, mean=(-5.1,) * 8, scale=(0.3,) * 8),
    "narrow": FrontEndSpec(rate=22050, window=1024, hop=256, mels=32, low_hz=300, high_hz=5000.5),
}
PUSH = """
    const stream = new m.FrontEnd(spec);
    return chunks.flatMap(chunk => stream.push(Int16Array.from(chunk))).map(f => Array.from(f));
"""


@pytest.fixture
def sound(rng):
    """Noise, silence and a rising tone, half a second."""
    n = np.arange(8000)
    tone = 8000 * np.sin(2 * np.pi * (0.01 + 4e-6 * n) * n)
    sound = np.rint(rng.normal(0, 2000, 8000) + tone).clip(-32768, 32767).astype(np.int16)
    sound[3000:4500] = 0
    return sound


def chunks_of(samples, rng):
    """The samples in chunks of random lengths, some of them empty."""
    cuts = np.sort(rng.integers(0, len(samples), 25))
    return [chunk.tolist() for chunk in np.split(samples, cuts)]


@pytest.mark.parametrize("name", SPECS)
def test_frames_have_the_same_bits_in_any_chunks(run_js, sound, rng, name):
    spec = SPECS[name]
    expected = FrontEnd(spec)(sound)
    frames = run_js(PUSH, "front_end", spec=spec.to_plain(), chunks=chunks_of(sound, rng))
    assert len(expected) > 10
    np.testing.assert_array_equal(np.array(frames, np.float32), expected)


def test_another_front_end_is_seen_as_another(run_js, sound, rng):
    frames = run_js(
        PUSH, "front_end", spec=FrontEndSpec(low_hz=21).to_plain(), chunks=chunks_of(sound, rng)
    )
    assert (np.array(frames, np.float32) != FrontEnd(SPECS["log-mel"])(sound)).any()


@pytest.mark.parametrize(("source", "target"), [(48000, 16000), (44100, 16000), (8000, 16000)])
def test_resampled_audio_has_the_same_samples(run_js, sound, rng, source, target):
    resampler = Resampler(source, target)
    expected = np.concatenate([resampler.push(sound), resampler.finish()])
    samples = run_js(
        """
        const resampler = new m.Resampler(source, target);
        const parts = chunks.map(chunk => resampler.push(Int16Array.from(chunk)));
        return [...parts, resampler.finish()].flatMap(part => Array.from(part));
        """,
        "resample",
        source=source,
        target=target,
        chunks=chunks_of(sound, rng),
    )
    np.testing.assert_array_equal(samples, expected)


def wav_file(content, width, channels, rate=16000):
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(width)
        writer.setframerate(rate)
        writer.writeframes(content)
    return file.getvalue()


FRAMES_OF_WAV = """
    const {audioFrames} = await import("/page/files.js");
    const sound = m.readWav(Uint8Array.from(content).buffer);
    return audioFrames(sound, spec).map(frame => Array.from(frame));
"""


@pytest.mark.parametrize(
    ("width", "channels", "rate"), [(1, 1, 16000), (2, 2, 16000), (3, 3, 16000), (4, 1, 44100)]
)
def test_wav_files_of_every_width_become_the_same_frames(run_js, rng, width, channels, rate):
    content = wav_file(rng.bytes(6000 * width * channels), width, channels, rate)
    compare_frames(run_js, content)


def compare_frames(run_js, content):
    spec = SPECS["log-mel"]
    expected = list(wav_frames(io.BytesIO(content), lambda _: FrontEnd(spec)))
    frames = run_js(FRAMES_OF_WAV, "audio_files", content=list(content), spec=spec.to_plain())
    assert len(expected) > 5
    np.testing.assert_array_equal(np.array(frames, np.float32), np.array(expected))


def float_wav(samples):
    """A WAV file of float32 from one of 32-bit integers."""
    content = wav_file(samples.astype("<f4").tobytes(), 4, 1)
    return content[:20] + b"\3\0" + content[22:]


def test_a_wav_file_of_floats_and_one_of_unknown_length(run_js, rng):
    content = float_wav(rng.normal(0, 0.4, 4000))
    compare_frames(run_js, content)
    compare_frames(run_js, content[:40] + b"\xff" * 4 + content[44:])


@pytest.mark.parametrize(
    "change",
    [
        lambda wav: b"RIFX" + wav[4:],
        lambda wav: wav[:20] + b"\7\0" + wav[22:],
        lambda wav: wav[:32] + b"\4\0" + wav[34:],
        lambda wav: wav[:30],
        lambda wav: wav[:36],
        lambda wav: wav[:200],
        lambda wav: wav + wav,
        lambda wav: wav + wav[36:],
        lambda wav: float_wav(np.array([0.0, np.nan] * 300)),
    ],
)
def test_a_bad_wav_file_is_refused_with_the_same_words(run_js, change):
    content = change(wav_file(bytes(800), 2, 1))
    body = "try { m.readWav(Uint8Array.from(content).buffer); } catch (e) { return e.message; }"
    with pytest.raises(DataError) as refusal:
        list(wav_frames(io.BytesIO(content), lambda _: FrontEnd(SPECS["log-mel"])))
    assert run_js(body, "audio_files", content=list(content)) == str(refusal.value)


FRAMES_OF_TEXT = """
    const {csvFrames} = await import("/page/csv.js");
    const names = typeof trained === "undefined" ? null : trained;
    try { return csvFrames(text, [spec], columns, {names}).map(frame => Array.from(frame)); }
    catch (error) { return error.message; }
"""
TEXTS = {
    "of Excel": "sep=;\na;b;c\n1,5;2;3\n",
    "comments and decimal commas": "# hot\na\tb\tc\n1,5\t2\t3\n# cold\n4\t5\t6\n",
    "commas and points": "a;b;c\n1,5;2.000;3\n",
    "pipes": "a|b|c\n1|2|3\n",
    "plain": "1,2,3\n4,5,6e-3\n",
    "header and time": "time,a,b,c\r\n0,1,2,3\r\n1, -4 ,5,6\r\n",
    "header of names alone": "a;b;c\n1,5;2;3\n\n4;5;6,25\n",
    "tabs": "1\t2\t3\n4\t5\t6\n",
    "blanks": " 1 2  3\n4 5 6\n",
    "commas and blanks": "1, 2, 3\n4 5 6\n",
    "quoted": '"a","b","c"\n"1","2","3"\n',
    "too few": "1,2,3\n4,5\n",
    "a word": "1,2,3\n4,five,6\n",
    "another header": "a,b\n1,2\n",
}
TABLE = 'when,who,x,y,"z, up"\n1,"Ann, Bo",2,3,4\n2,"a ""b""",5,6,7\n'
CHOSEN = {
    "names": (TABLE, ["y", "x", "who"]),
    "names in another order": (TABLE, ["z, up", "x", "y"]),
    "numbers": (TABLE, ["3", "4", "5"]),
    "numbers without a header": ("1,2,3,4\n5,6,7,8\n", ["4", "2", "1"]),
    "a name without a header": ("1,2,3\n", ["x", "2", "3"]),
    "a column that is not there": (TABLE, ["x", "y", "no"]),
    "a number too large": (TABLE, ["x", "y", "6"]),
    "a column twice": ("a,b,b,c\n1,2,3,4\n", ["a", "b", "c"]),
    "a line cut short": ("a,b,c,d\n1,2,3,4\n1,2,3\n", ["a", "b", "c"]),
}


@pytest.mark.parametrize("name", [*TEXTS, *CHOSEN])
def test_lines_of_text_become_the_same_frames_or_the_same_refusal(run_js, name):
    text, chosen = CHOSEN.get(name) or (TEXTS[name], None)
    spec = TensorSpec("frame", (3,))
    stream = io.BytesIO(text.encode())
    columns = chosen and [chosen]
    frames = run_js(FRAMES_OF_TEXT, spec=spec.to_plain(), text=text, columns=columns)
    read = partial(csv_frames, stream, spec, CsvColumns(chosen), REFUSE, InputCounts())
    check_as_on_the_device(frames, read)


@pytest.mark.parametrize("header", ["t,c,b,a,x", "t,c,b,y,x", "1,2,3"])
def test_a_header_is_matched_with_the_names_of_training_as_on_the_device(run_js, header):
    text = f"{header}\n1,2,3,4,5\n" if "t" in header else "1,2,3\n4,5,6\n"
    spec, trained = TensorSpec("frame", (3,)), ["a", "b", "c"]
    values = {"spec": spec.to_plain(), "columns": None, "trained": trained}
    frames = run_js(FRAMES_OF_TEXT, text=text, **values)
    stream, columns = io.BytesIO(text.encode()), CsvColumns(trained=trained)
    read = partial(csv_frames, stream, spec, columns, REFUSE, InputCounts())
    check_as_on_the_device(frames, read)


def check_as_on_the_device(frames, read):
    """The page has the frames of `read`, or its refusal by the same rule."""
    if isinstance(frames, str):
        with pytest.raises(DataError) as refusal:
            list(read())
        # The hint is another: the page has no options.
        assert rule_of(frames) == rule_of(str(refusal.value))
    else:
        np.testing.assert_array_equal(np.array(frames, np.float32), np.array(list(read())))


def rule_of(message):
    return re.split(r":|, got|, the (?:first line|columns)", message)[0]


def test_lines_of_tokens(run_js):
    spec = TensorSpec("frame", (), "int32", vocabulary=5)
    values = {"spec": spec.to_plain(), "columns": None}
    assert run_js(FRAMES_OF_TEXT, text="1\n4\n", **values) == [[1], [4]]
    assert "line 2 must hold 1 numbers of int32" in run_js(
        FRAMES_OF_TEXT, text="1\n4.5\n", **values
    )
