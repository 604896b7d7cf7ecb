"""A site of `kgated web`, and a browser that opens it."""

import json
import shutil
from pathlib import Path

import chromium
import numpy as np
import pytest

from kgated.web import build_site

OWN = Path(__file__).parent / "fixtures"
FIXTURES = Path(__file__).parents[1] / "edge" / "fixtures"
FOLDERS = (OWN, FIXTURES, FIXTURES / "archive" / "0.2.0.dev0")


@pytest.fixture
def model_file():
    """The model file of a name."""
    return lambda name: next(p for f in FOLDERS if (p := f / f"{name}.tflite").exists())


@pytest.fixture(scope="session")
def litert():
    return chromium.litert_or_skip()


@pytest.fixture(scope="session")
def site(tmp_path_factory, litert):
    """The site of `speech`, with all other model files beside its own."""
    assert litert
    folder = build_site(FIXTURES / "speech.tflite", tmp_path_factory.mktemp("web") / "site")
    for path in (path for source in FOLDERS for path in source.glob("*.tflite")):
        shutil.copyfile(path, folder / path.name)
    return folder


@pytest.fixture(scope="session")
def address(site):
    with chromium.served(site) as url:
        yield url


@pytest.fixture(scope="module")
def start_browser():
    with chromium.chromium_starter() as start:
        yield start


@pytest.fixture(scope="module")
def browser(start_browser):
    with start_browser() as started:
        yield started


@pytest.fixture(scope="module")
def run_js(browser, address):
    """Runs the body of an async function with the modules of the site; returns its result.

    Arrays go in and out as lists; `modules` of `kgated/` are imported by name.
    """
    page = browser.new_page()
    page.goto(f"{address}/NOTICE.html")  # any page of the server; that it lacks this one is fine

    def run(body, *modules, **values):
        names = ", ".join(f"...await import('/kgated/{name}.js')" for name in modules)
        keys = ", ".join(values)
        code = f"async ({{{keys}}}) => {{ const m = {{{names}}}; {body} }}"
        plain = json.loads(json.dumps(values, default=_listed))
        return page.evaluate(code, plain)

    yield run
    page.close()


def _listed(value):
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(value)
