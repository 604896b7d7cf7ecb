"""Screenshots of the page of `kgated web` for docs/browser.md: `python scripts/draw_web_page.py`.

A small GRU learns two gestures of a sensor with two axes. The page then runs a CSV file of a
recording in headless Chromium, on a desktop's width and a phone's, in light and in dark.
"""

import argparse
import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_browser import served_page
from PIL import Image

FOLDER = Path(__file__).parents[1] / "docs" / "images" / "web"
WIDTHS = {"desktop": 1280, "phone": 390}
THEMES = ("light", "dark")
LABELS = ["background", "left", "right"]
PERIOD_S, WINDOW = 0.01, 100
COLOURS = 64  # of the files, which are a third as large as with all


def recording(rng: np.random.Generator, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames (T, 2) float32 of noise with gestures, and the label of each frame (T,) int32."""
    frames, targets = rng.normal(0, 1, (steps, 2)), np.zeros(steps, np.int32)
    for start in range(60, steps - 60, 120):
        label = int(rng.integers(1, len(LABELS)))
        frames[start : start + 60, label - 1] += 2.0
        targets[start : start + 60] = label
    return frames.astype(np.float32), targets


def convert_model(rng: np.random.Generator, path: Path) -> None:
    """Train a GRU of 12 units on windows of a recording and convert it."""
    import keras

    import kgated

    keras.utils.set_random_seed(0)
    frames, targets = recording(rng, 240 * WINDOW)
    model = keras.Sequential(
        [
            keras.Input((None, 2)),
            kgated.GRU(12, return_sequences=True),
            keras.layers.Dense(len(LABELS), activation="softmax"),
        ],
        name="gestures",
    )
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    x, y = frames.reshape(-1, WINDOW, 2), targets.reshape(-1, WINDOW)
    model.fit(x, y, batch_size=16, epochs=8, verbose=0)
    kgated.to_tflite(
        model, path, quantize="int8", calibration=x, labels=LABELS, sample_period_s=PERIOD_S
    )


def draw(page: Any, csv: Path, folder: Path) -> None:
    """Run a CSV file on the page and save a screenshot of each width and theme."""
    page.goto(page.url.replace("style.css", "index.html"))
    page.wait_for_selector("html[data-state=ready]", timeout=60_000)
    page.set_input_files("#file", csv)
    page.wait_for_selector("#message:has-text('frames')")
    for name, width in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": 800})
        for theme in THEMES:
            page.emulate_media(color_scheme=theme)
            page.wait_for_timeout(300)  # the page draws again
            picture = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
            picture.quantize(COLOURS).save(folder / f"{name}-{theme}.png", optimize=True)


def main() -> None:
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    from kgated.web import build_site

    rng = np.random.default_rng(0)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        model, csv = Path(name, "gestures.tflite"), Path(name, "recording.csv")
        convert_model(rng, model)
        frames, _ = recording(rng, 380)
        np.savetxt(csv, frames, "%.4f", ",", header="x,y", comments="")
        with served_page(build_site(model, Path(name, "site"))) as page:
            draw(page, csv, FOLDER)


if __name__ == "__main__":
    main()
