"""The examples of docs/browser.md: the commands make the site, its HTML runs in Chromium."""

import shlex
import struct

import chromium
import keras
import pytest
from documents import blocks, page
from draw_web_page import FOLDER, THEMES, WIDTHS
from typer.testing import CliRunner

from kgated_cli.app import app

GUIDE = page("docs/browser.md")


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="needs minutes elsewhere")
def test_from_a_model_to_a_page_of_ones_own(tmp_path, monkeypatch):
    chromium.path_of_chromium()
    chromium.litert_or_skip()
    monkeypatch.chdir(tmp_path)
    (code,), (command,), (html,) = (blocks(GUIDE, kind) for kind in ("python", "sh", "html"))
    exec(code, {})
    result = CliRunner().invoke(app, shlex.split(command)[1:])
    assert result.exit_code == 0, result.output
    (tmp_path / "site" / "own.html").write_text(f"<!doctype html><title></title>{html}")
    with (
        chromium.served(tmp_path / "site") as url,
        chromium.chromium_starter() as start,
        start() as browser,
    ):
        tab = browser.new_page()
        tab.goto(f"{url}/own.html")
        tab.wait_for_function("document.title")
        assert tab.title() == "true 2 1 rest,walk"
        tab.goto(f"{url}/index.html")
        tab.wait_for_selector("html[data-state=ready]")
        assert "Self-test passed" in tab.inner_text("#status")


def test_the_guide_shows_each_width_in_light_and_dark():
    for name, width in WIDTHS.items():
        for theme in THEMES:
            assert f"(images/web/{name}-{theme}.png#only-{theme})" in GUIDE
            header = (FOLDER / f"{name}-{theme}.png").read_bytes()[:24]
            assert struct.unpack(">8x8xI4x", header) == (width,)
    assert len(list(FOLDER.iterdir())) == len(WIDTHS) * len(THEMES)
