"""The page of `kgated web` in Chromium, used as by a user."""

import shutil
import wave
from dataclasses import replace
from pathlib import Path

import chromium
import numpy as np
import pytest
from kgated_edge import EdgeModel
from kgated_edge.events.stream import EventStream
from kgated_edge.format.event_settings import EventSettings
from kgated_edge.format.front_end import FrontEndSpec
from kgated_edge.format.reader import read_model
from kgated_edge.ingest.audio import wav_frames
from kgated_edge.ingest.front_end import FrontEnd
from web_page import opened, saved_outputs, wait_for_message

from kgated.deploy.manifest_writer import embed, manifest_in
from kgated.deploy.tflite.flatbuffer import parse
from kgated.web import build_site

pytestmark = pytest.mark.slow
FRONT_END = FrontEndSpec(mels=3, mean=(-9.0,) * 3, scale=(0.5,) * 3)
EVENTS = EventSettings(smoothing_s=0.05, refractory_s=0.1)
SPEECH = Path(__file__).parents[1] / "edge" / "fixtures" / "speech.tflite"


@pytest.fixture(scope="module")
def sound_model(tmp_path_factory):
    """`speech`, whose frames are now said to come from sound."""
    path = tmp_path_factory.mktemp("model") / "sound.tflite"
    content, manifest = read_model(SPEECH)
    path.write_bytes(embed(parse(content), replace(manifest, front_end=FRONT_END, events=EVENTS)))
    return path


@pytest.fixture(scope="module")
def sound_address(sound_model, tmp_path_factory, litert):
    assert litert
    folder = build_site(sound_model, tmp_path_factory.mktemp("web") / "site")
    with chromium.served(folder) as url:
        yield url


@pytest.fixture
def sound_file(tmp_path, rng):
    """One and a half seconds of 44.1 kHz: noise that grows and falls twice."""
    path = tmp_path / "sound.wav"
    level = 8000 * np.sin(np.linspace(0, 2 * np.pi, 66150)) ** 2
    write_wav(path, 44100, np.rint(rng.normal(0, 0.3, 66150) * level))
    return path


def write_wav(path, rate, samples):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.clip(-32768, 32767).astype("<i2").tobytes())


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_page_loads_tests_itself_and_fits(browser, sound_address, width, scheme):
    page = opened(
        browser, sound_address, viewport={"width": width, "height": 800}, color_scheme=scheme
    )
    assert "Self-test passed: 6 outputs" in page.inner_text("#status")
    page.click("#golden")
    wait_for_message(page, "The golden frames of the file")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.inner_text("h1") == page.title() == "speech"
    measured = page.locator("#times td:nth-child(2)").all_inner_texts()
    assert measured[2] == "10 ms"
    assert all(text.endswith(("µs", "ms")) for text in measured[:2])
    assert len(page.screenshot(full_page=True)) > 20_000, "a blank page compresses to less"
    assert not page.said
    assert all(url.startswith((sound_address, "data:")) for url in page.asked)
    page.close()


HAS_PIXEL = """(color) => {
    const context = document.getElementById('timeline').getContext('2d');
    const {data} = context.getImageData(0, 0, 400, 180);
    const same = (n) => color.every((value, k) => data[4 * n + k] === value);
    return Array.from({length: data.length / 4}, (_, n) => n).some(same);
}"""


def test_the_outputs_over_time_follow_the_theme_and_the_width(browser, sound_address):
    light, dark = [0x1F, 0x5F, 0xD0, 0xFF], [0x7F, 0xB0, 0xFF, 0xFF]  # of the first output
    page = opened(browser, sound_address, color_scheme="light")
    page.click("#golden")
    wait_for_message(page, "The golden frames of the file")
    page.wait_for_function(HAS_PIXEL, arg=light)
    assert not page.evaluate(HAS_PIXEL, dark)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(HAS_PIXEL, arg=dark)
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_function(
        "(({width, clientWidth}) => width === clientWidth && width < 390)"
        "(document.getElementById('timeline'))"
    )
    page.close()


def test_a_csv_file_gives_the_outputs_of_the_runner(browser, sound_address, sound_model, tmp_path):
    frames = np.random.default_rng(3).normal(size=(450, 3)).astype(np.float32)
    lines = [",".join(map(str, row)) for row in frames.tolist()]
    (tmp_path / "frames.csv").write_text("\n".join(["a,b,c", *lines]))
    page = opened(browser, sound_address)
    for _ in range(2):  # the second run starts from zero state, too
        page.set_input_files("#file", tmp_path / "frames.csv")
        wait_for_message(page, "450")
        labels, outputs = saved_outputs(page, tmp_path)
        np.testing.assert_allclose(outputs, EdgeModel(sound_model).run(frames), atol=1e-5)
    assert labels == ["yes", "no"]
    assert page.locator("#times td:nth-child(3)").all_inner_texts()[3].endswith(" of 450")
    page.close()


def test_the_last_block_is_filled_as_in_the_runner(browser, site, model_file, tmp_path):
    frames = np.random.default_rng(4).normal(size=(30, 3)).astype(np.float32)
    np.savetxt(tmp_path / "frames.csv", frames, "%.9g", ",")
    folder = shutil.copytree(site, tmp_path / "site")
    shutil.copyfile(model_file("block"), folder / "model.tflite")
    with chromium.served(folder) as url:
        page = opened(browser, url)
        page.set_input_files("#file", tmp_path / "frames.csv")
        wait_for_message(page, "30 frames, 30 outputs")
        _, outputs = saved_outputs(page, tmp_path)
        page.close()
    np.testing.assert_allclose(outputs, EdgeModel(model_file("block")).run(frames), atol=1e-5)


def test_a_recording_gives_the_outputs_and_events_of_the_runner(
    browser, sound_address, sound_model, sound_file, tmp_path
):
    with sound_file.open("rb") as file:
        frames = np.array(list(wav_frames(file, lambda _: FrontEnd(FRONT_END))))
    stream = EventStream(EdgeModel(sound_model))
    events = [event for frame in frames for event in stream.step(frame)]
    events += stream.finish()
    page = opened(browser, sound_address)
    page.set_input_files("#file", sound_file)
    wait_for_message(page, f"{len(frames)} frames")
    _, outputs = saved_outputs(page, tmp_path)
    np.testing.assert_allclose(outputs, EdgeModel(sound_model).run(frames), atol=1e-5)
    rows = page.locator("#events tbody tr").all()
    shown = [row.locator("td").all_inner_texts() for row in reversed(rows)]
    assert [(label, start, end) for label, start, end, _ in shown] == [
        (event.label, f"{event.start_s:.2f}", f"{event.end_s:.2f}") for event in events
    ]
    assert len(events) > 2
    page.close()


def test_the_microphone_is_read(start_browser, sound_address, sound_model, tmp_path):
    rate = 48000
    tone = np.rint(6000 * np.sin(2 * np.pi * 1000 * np.arange(rate) / rate))
    write_wav(tmp_path / "tone.wav", rate, tone)
    device = f"--use-file-for-fake-audio-capture={tmp_path / 'tone.wav'}"
    with start_browser(device) as browser:
        page = opened(browser, sound_address)
        page.click("#microphone")
        count = (
            "document.querySelector('#times tr:last-child td:last-child').textContent.split(' ')[2]"
        )
        page.wait_for_function(f"parseInt({count}) > 150", timeout=60_000)
        page.click("#microphone")
        wait_for_message(page, "is off")
        _, outputs = saved_outputs(page, tmp_path)
        assert not page.said
    with (tmp_path / "tone.wav").open("rb") as file:
        frames = np.array(list(wav_frames(file, lambda _: FrontEnd(FRONT_END))))
    model = EdgeModel(sound_model)
    expected = model.run(frames)[-1]
    silence = model.run(np.tile(FrontEnd(FRONT_END)(np.zeros(400, np.int16)), (90, 1)))[-1]
    # A tone without end gives one output; the device adds its own start and its own volume.
    heard = np.median(outputs[80:], axis=0)
    assert np.abs(expected - silence).max() > 0.05
    assert np.abs(heard - expected).max() < np.abs(heard - silence).max() / 2


SLOW_PERMISSION = """
    const {mediaDevices} = navigator, ask = mediaDevices.getUserMedia.bind(mediaDevices);
    window.streams = [];
    mediaDevices.getUserMedia = async (wish) => {
      const stream = await ask(wish);
      window.streams.push(stream);
      await new Promise((resolve) => setTimeout(resolve, 100));
      return stream;
    };
"""
NO_WORKLET = (
    "() => { AudioWorklet.prototype.addModule = () => Promise.reject(Error('no worklet')) }"
)
LISTENING = "streams.flatMap(s => s.getTracks()).filter(t => t.readyState === 'live').length"


def test_a_microphone_that_is_not_used_is_off(browser, sound_address):
    page = browser.new_page()
    page.add_init_script(SLOW_PERMISSION)
    page.goto(f"{sound_address}/index.html")
    page.wait_for_selector("html[data-state=ready]")
    page.evaluate("() => { for (const n of [1, 2]) document.getElementById('microphone').click() }")
    page.wait_for_function(f"streams.length === 2 && {LISTENING} === 1")
    page.wait_for_selector("#microphone.active")
    page.click("#microphone")
    page.wait_for_function(f"{LISTENING} === 0")
    page.evaluate(NO_WORKLET)
    page.click("#microphone")
    wait_for_message(page, "no worklet")
    assert page.evaluate(f"[streams.length, {LISTENING}]") == [3, 0]
    page.close()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("1,2,3\n1,2\n", "line 2 must hold 3 numbers of float32, got '1,2'"),
        ("a,b,c\n", "bad.csv has no whole frame: choose a longer one"),
        (b"RIFF\0\0\0\0WAVE", "the WAV file is cut short in its header"),
        (b"\xff\xfe\0", "neither a WAV file nor text"),
    ],
)
def test_a_bad_file_is_one_sentence(browser, sound_address, tmp_path, content, words):
    path = tmp_path / "bad.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    page = opened(browser, sound_address)
    page.set_input_files("#file", path)
    page.wait_for_selector("#message.bad")
    assert words in page.inner_text("#message")
    page.close()


def broken_site(folder, target, change):
    shutil.copytree(folder, target)
    model = target / "model.tflite"
    model.write_bytes(change(model.read_bytes()))
    return target


def with_wrong_golden(content):
    manifest = manifest_in(content)
    outputs = {name: rows + np.float32(0.01) for name, rows in manifest.golden.outputs.items()}
    golden = replace(manifest.golden, outputs=outputs)
    return embed(parse(content), replace(manifest, golden=golden))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_wrong_golden, "Self-test failed: outputs differ from the file's golden ones by 0.01"),
        (lambda content: content[:-9] + b"\1" + content[-8:], "its digest does not match"),
    ],
)
def test_a_wrong_model_is_reported(browser, site, tmp_path, change, words):
    with chromium.served(broken_site(site, tmp_path / "site", change)) as url:
        page = opened(browser, url)
        assert words in page.inner_text("#status.bad")
        page.close()
