"""Text, chosen columns and several inputs on the page, with the outputs of the runner."""

import shutil
from dataclasses import replace

import chromium
import numpy as np
import pytest
from kgated_edge import EdgeModel
from kgated_edge.format.reader import read_model
from kgated_edge.format.vocabulary import Vocabulary
from web_page import opened, saved_outputs, wait_for_message

from kgated.deploy.manifest_writer import embed
from kgated.deploy.tflite.flatbuffer import parse

pytestmark = pytest.mark.slow
WORDS = Vocabulary(("", "[UNK]", "go", "stop", "é😀"), "lower_and_strip_punctuation", unknown=1)


@pytest.fixture
def open_page(browser, site, tmp_path):
    """Opens the page with another model file."""
    pages = []

    def open_with(content):
        folder = shutil.copytree(site, tmp_path / "site")
        (folder / "model.tflite").write_bytes(content)
        server = chromium.served(folder)
        pages.append((opened(browser, server.__enter__()), server))
        return pages[0][0]

    yield open_with
    for page, server in pages:
        assert not page.said
        page.close()
        server.__exit__(None, None, None)


@pytest.fixture
def text_model(model_file, tmp_path):
    content, manifest = read_model(model_file("text"))
    path = tmp_path / "words.tflite"
    path.write_bytes(embed(parse(content), replace(manifest, vocabularies={"frame": WORDS})))
    return path


def test_typed_text_gives_the_outputs_of_the_runner(open_page, text_model, tmp_path):
    page = open_page(text_model.read_bytes())
    text = "Go, STOP!\n wait é😀  go"
    page.fill("#text", text)
    page.click("#text-form button")
    wait_for_message(page, "The text: 5 frames, 5 outputs")
    _, outputs = saved_outputs(page, tmp_path)
    np.testing.assert_allclose(outputs, EdgeModel(text_model).run(text), atol=1e-5)
    (tmp_path / "text.txt").write_text(text + "\n")
    page.set_input_files("#file", tmp_path / "text.txt")
    wait_for_message(page, "text.txt: 5 frames")
    np.testing.assert_array_equal(saved_outputs(page, tmp_path)[1], outputs)
    page.fill("#text", " ,. ")
    page.click("#text-form button")
    wait_for_message(page, "the text has no token")


def test_chosen_columns_give_the_outputs_of_the_runner(open_page, model_file, tmp_path, rng):
    table = rng.normal(size=(20, 5)).astype(np.float32)
    lines = [",".join([*map(str, row), "a note"]) for row in table.tolist()]
    (tmp_path / "table.csv").write_text("\n".join(["z,time,y,x,w,note", *lines]))
    page = open_page(model_file("speech").read_bytes())
    page.set_input_files("#file", tmp_path / "table.csv")
    wait_for_message(page, "the header has 6 columns of features, the model takes 3: name those")
    page.click("summary")
    page.fill("#columns input", "x, y, 1")
    page.set_input_files("#file", tmp_path / "table.csv")
    wait_for_message(page, "20 frames")
    _, outputs = saved_outputs(page, tmp_path)
    expected = EdgeModel(model_file("speech")).run(table[:, [3, 2, 0]])
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    page.fill("#columns input", "x,y,v")
    page.set_input_files("#file", tmp_path / "table.csv")
    wait_for_message(page, "no column \\'v\\', the columns are z, time, y, x, w, note")


@pytest.mark.parametrize("chosen", [False, True])
def test_groups_of_columns_feed_the_inputs(open_page, model_file, tmp_path, rng, chosen):
    sound, word = rng.normal(size=(21, 3)).astype(np.float32), rng.integers(0, 5, 21)
    rows = zip(sound.tolist(), word.tolist(), strict=True)
    order = [3, 0, 1, 2] if chosen else [0, 1, 2, 3]
    fields = [["a", "b", "c", "id"], *([*map(str, row), str(token)] for row, token in rows)]
    lines = [",".join(line[n] for n in order) for line in fields]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    page = open_page(model_file("blocks").read_bytes())
    assert "sound (3 numbers), word (1 id) a line, in this order" in page.inner_text("#drop-text")
    if chosen:
        page.click("summary")
        page.fill("#columns input[data-input=sound]", "a,b,c")
        page.set_input_files("#file", tmp_path / "rows.csv")
        wait_for_message(page, "name the columns of \\'word\\' too")
        page.fill("#columns input[data-input=word]", "id")
    page.set_input_files("#file", tmp_path / "rows.csv")
    wait_for_message(page, "21 frames, 10 outputs")
    _, outputs = saved_outputs(page, tmp_path)
    model = EdgeModel(model_file("blocks"))
    results = model.run({"sound": sound, "word": word.astype(np.int32)})
    first = results[model.manifest.outputs[0].name] if isinstance(results, dict) else results
    np.testing.assert_allclose(outputs, first, atol=1e-5)
