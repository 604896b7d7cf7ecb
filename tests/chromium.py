"""A headless Chromium and a server of one folder, for the tests of pages."""

import contextlib
import functools
import http.server
import shutil
import threading

import pytest

from kgated.web.litert_js import litert_files

FLAGS = ("--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")


def path_of_chromium():
    """The browser's path; skips the test, with a word on what was not tried, without one."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("there is no chromium: the page was NOT opened in a browser")
    return path


def litert_or_skip():
    """LiteRT.js's files, fetched by npm if need be; skips the test, with a word, without them."""
    try:
        return litert_files()
    except OSError as error:
        pytest.skip(f"{error}: nothing was run with LiteRT.js")


@contextlib.contextmanager
def chromium_starter():
    """A function that starts a browser with more flags; a process has one such at a time."""
    path = path_of_chromium()
    driver = pytest.importorskip("playwright.sync_api").sync_playwright()
    with driver as play:
        yield lambda *flags: play.chromium.launch(executable_path=path, args=[*FLAGS, *flags])


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Says nothing."""


@contextlib.contextmanager
def served(folder):
    """The address of a server of a folder on this machine."""
    handler = functools.partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
