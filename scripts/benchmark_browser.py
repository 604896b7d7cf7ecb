"""Measure a step in headless Chromium beside the device runner.

    python scripts/benchmark_browser.py [MODEL.tflite ...]

Without files, an LSTM of 128 units on 40 features is converted by four recipes. Both sides run the
golden frames of the file in turns, in blocks of steps, since a browser's clock is coarse. A file
has one input and one output.
"""

import argparse
import functools
import http.server
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from kgated_edge import EdgeModel
from kgated_edge.runtime.batching import split_steps, unwrap_single

RECIPES = ("none", "dynamic", "int8", "int16x8")
ROUNDS, BLOCKS = 5, 40
BLOCK_S = 2e-3
MEASURE = """async (name) => {
    const {load} = await import('/kgated/kgated.js');
    const {measure} = await import('/page/timing.js');
    const model = await load(name);
    const times = await measure(model);
    const outputs = model.goldenSteps().flatMap((frame) => Array.from(model.step(frame)));
    model.delete();
    return [times.p50 * 1000, times.p99 * 1000, outputs];
}"""
Row = dict[str, float]


def convert_models(folder: Path) -> list[Path]:
    """An LSTM of 128 units in each recipe."""
    import keras

    import kgated

    keras.utils.set_random_seed(1)
    layers = [keras.Input((None, 40)), kgated.LSTM(128), keras.layers.Dense(10)]
    model = keras.Sequential(layers, name="lstm")
    sequences = np.random.default_rng(1).normal(size=(16, 50, 40)).astype(np.float32)
    paths = []
    for quantize in RECIPES:
        calibration = sequences if quantize.startswith("int") else None
        paths.append(folder / f"{quantize}.tflite")
        kgated.to_tflite(model, paths[-1], quantize=quantize, calibration=calibration)
    return paths


def runner_times(path: Path) -> tuple[float, float]:
    """p50 and p99 of a step of the device runner, in microseconds, of means over blocks."""
    model = EdgeModel(path)
    manifest = model.manifest
    frames = unwrap_single(manifest.golden.frames)
    steps = split_steps(manifest.frames, manifest.frames_per_step, frames)
    count = 1
    while (_block_s(model, steps, count)) < BLOCK_S:
        count *= 2
    times = [1e6 * _block_s(model, steps, count) / count for _ in range(BLOCKS)]
    p50, p99 = np.quantile(times, [0.5, 0.99], method="inverted_cdf")
    return float(p50), float(p99)


def _block_s(model: EdgeModel, steps: list[Any], count: int) -> float:
    start = time.perf_counter()
    for n in range(count):
        model.step(steps[n % len(steps)])
    return time.perf_counter() - start


@contextmanager
def served_page(folder: Path) -> Iterator[Any]:
    """A page of Chromium with the address of a server of the folder."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/style.css")
        yield page
        browser.close()
    server.shutdown()


def measure(paths: list[Path]) -> dict[str, Row]:
    """The smallest times of some rounds, by file: other work on the machine only adds."""
    from kgated.web import build_site

    with tempfile.TemporaryDirectory() as folder:
        site = build_site(paths[0], Path(folder) / "site")
        for path in paths:
            shutil.copyfile(path, site / path.name)
        with served_page(site) as page:
            return {path.stem: _measure_file(path, page) for path in paths}


def _measure_file(path: Path, page: Any) -> Row:
    expected = np.ravel(_golden_results(path))
    rows = []
    for _ in range(ROUNDS):
        *times, outputs = page.evaluate(MEASURE, f"/{path.name}")
        rows.append((*runner_times(path), *times))
    names = ("runner_us_p50", "runner_us_p99", "browser_us_p50", "browser_us_p99")
    difference = float(np.abs(np.array(outputs) - expected).max())
    return dict(zip(names, np.min(rows, axis=0).tolist(), strict=True)) | {
        "max_difference": difference
    }


def _golden_results(path: Path) -> Any:
    """The runner's outputs for the golden frames; the file has one output."""
    model = EdgeModel(path)
    return model.run(unwrap_single(model.manifest.golden.frames))


def main() -> None:
    """Print a row per file, as JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL.tflite")
    paths = parser.parse_args().models
    with tempfile.TemporaryDirectory() as folder:
        for name, row in measure(paths or convert_models(Path(folder))).items():
            print(json.dumps({"model": name} | {k: float(f"{v:.3g}") for k, v in row.items()}))


if __name__ == "__main__":
    main()
