"""A model of two classes, and recordings with labels for it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kgated_edge import ClassThreshold, EdgeModel, EventDetector, EventSettings


@pytest.fixture
def model(tmp_path):
    """A copy of the model with the labels yes and no, of frames (3,), every 10 ms."""
    source = Path(__file__).parents[1] / "edge" / "fixtures" / "speech.tflite"
    path = tmp_path / "speech.tflite"
    path.write_bytes(source.read_bytes())
    return path


@pytest.fixture
def recordings(tmp_path, model):
    """A folder of two recordings, and labels where the model's own slow average is high."""
    rng = np.random.default_rng(5)
    folder, labels = tmp_path / "recordings", ["file,start,end,label"]
    folder.mkdir()
    for name in ("a.npy", "b.npy"):
        walk = np.cumsum(rng.normal(0, 0.25, (3000, 3)), axis=0)
        frames = (4 * np.sin(walk) + rng.normal(0, 2, (3000, 3))).astype(np.float32)
        np.save(folder / name, frames)
        settings = EventSettings(smoothing_s=0.2, refractory_s=0.3, background=("no",))
        settings = replace(settings, default=ClassThreshold(0.5, 0.45))
        detector = EventDetector(("yes", "no"), 0.01, settings)
        for row in EdgeModel(model).run(frames):
            for event in detector.step(row):
                labels.append(f"{name},{event.start_s},{event.end_s},yes")
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(labels))
    assert len(labels) > 8
    return folder, path
