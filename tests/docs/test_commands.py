"""The commands of README and of pages of docs/, in their order, on a tiny model and its data."""

import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from c_programs import has
from documented_commands import run_commands
from documents import PAGES, blocks, page

import kgated
from kgated.data import SequenceData, save_npz

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="converts, which takes minutes elsewhere"
)
FEATURES, CLASSES, LENGTH = 12, 9, 6
LAYER = """
import keras

class Twice(keras.layers.Layer):
    def call(self, x):
        return x + x
"""
# Options that make a command quick.
QUICK = {
    "kgated train": ["--epochs", "1", "--quiet"],
    "kgated-edge realtime": ["--seconds", "0.3", "--max-misses", "1000"],
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """speaker.keras, a data set to train on, and two in which the model makes no mistake."""
    folder = tmp_path_factory.mktemp("prepared")
    keras.utils.set_random_seed(0)
    layers = [kgated.GRU(4), keras.layers.Dense(CLASSES, "softmax")]
    model = keras.Sequential([keras.Input((None, FEATURES)), *layers])
    model.layers[-1].kernel.assign(8 * model.layers[-1].kernel)
    model.save(folder / "speaker.keras")
    shutil.copy(folder / "speaker.keras", folder / "model.keras")
    x = np.random.default_rng(0).normal(size=(27, LENGTH, FEATURES)).astype(np.float32)
    y = model.predict(x, verbose=0).argmax(axis=1).astype(np.int32)
    every_class = np.arange(len(x), dtype=np.int32) % CLASSES
    for name, labels in {"train": every_class, "valid": y, "test": y}.items():
        save_npz(folder / f"{name}.npz", SequenceData(x, np.full(len(x), LENGTH), labels))
    return folder


@pytest.fixture
def folder(prepared, tmp_path, monkeypatch):
    """A copy of the prepared files, which the commands run in."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_page(name):
    """Runs the commands of a page."""
    for lines in blocks(page(name), "sh"):
        run_commands(lines, QUICK)


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("README.md", ["speaker.tflite"]),
        ("docs/microcontrollers.md", ["speaker.tflite", "speaker.h", "speaker.cc"]),
        ("docs/optimize.md", ["recipe.json", "model.tflite"]),
        ("docs/training.md", ["speaker.keras", "runs/first/best.keras"]),
    ],
)
def test_the_commands_of_a_page_run(name, files, folder, capfd):
    run_page(name)
    assert [path for path in files if not Path(path).is_file()] == []


def test_files_of_keras_2_and_layers_of_ones_own_are_converted(folder, capfd):
    layers = [keras.Input((20, 5)), keras.layers.GRU(4), keras.layers.Dense(2)]
    keras.Sequential(layers).save("old.h5")
    Path("my_layers.py").write_text(LAYER)
    scope = {}
    exec(LAYER, scope)
    keras.Sequential([keras.Input((None, 3)), scope["Twice"](), kgated.GRU(4)]).save("model.keras")
    run_page("docs/importing.md")
    assert Path("new.tflite").is_file()
    assert Path("model.tflite").is_file()


@pytest.mark.skipif(not has("gcc"), reason="no gcc: the commands of docs/c.md were NOT run")
def test_the_sources_in_c_are_written_built_and_opened(folder, rng, capfd):
    run_page("docs/c.md")
    (code,) = blocks(page("docs/c.md"), "python")
    scope = {"sequence": rng.normal(size=(3, FEATURES)).astype(np.float32)}
    exec(code, scope)
    assert scope["output"].shape == (CLASSES,)


def test_the_page_of_the_runner_and_that_of_devices_run(folder, rng, capfd):
    kgated.to_tflite(keras.saving.load_model("speaker.keras"), "speaker.tflite")
    run_page("edge/README.md")
    run_commands("kgated-edge check speaker.tflite --data test.npz --json pi4.json")
    for name in ("pi5.json", "gateway.json"):
        shutil.copy("pi4.json", name)
    run_page("docs/devices.md")
    assert "Speaker recognition" in Path("report.html").read_text()
    first, second, third = blocks(page("edge/README.md"), "python")
    scope = {"frames": rng.normal(size=(3, FEATURES)).astype(np.float32)}
    exec(first, scope)
    assert scope["output"].shape == (CLASSES,)
    scope.update(two_inputs(), frames=np.zeros((3000, FEATURES), np.float32))
    scope["frame"] = scope["frames"][0]
    exec(second, scope)
    assert scope["result"].shape == (FEATURES,)
    exec(third, scope)
    assert scope["outputs"].shape == (3000, CLASSES)


def two_inputs():
    """A model that takes blocks of sound and motion, and a block of each."""
    from kgated_edge import EdgeModel

    sound, motion = keras.Input((None, 3), name="sound"), keras.Input((None, 6), name="motion")
    convolution = keras.layers.Conv1D(4, 3, strides=2, padding="causal")(sound)
    pooled = keras.layers.AveragePooling1D(2)(keras.layers.Dense(4)(motion))
    x = kgated.GRU(4)(keras.layers.Multiply()([convolution, pooled]))
    keyword = keras.layers.Dense(12, name="keyword")(x)
    each = keras.layers.Dense(2, name="each")(x)
    kgated.to_tflite(keras.Model([sound, motion], [keyword, each]), "both.tflite")
    blocks_of = {"sound": np.zeros((2, 3), np.float32), "motion": np.zeros((2, 6), np.float32)}
    return {"model": EdgeModel("both.tflite"), **blocks_of}


def test_the_packages_with_extras_have_them():
    extras = {}
    for name in ("pyproject.toml", "edge/pyproject.toml"):
        text = page(name)
        section = text.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
        package = re.search(r'^name = "(.*)"', text, re.MULTILINE).group(1)
        extras[package] = set(re.findall(r"^(\w+) = \[", section, re.MULTILINE))
    asked = [
        pair
        for path in PAGES
        for pair in re.findall(r'"(kgated(?:-edge)?)\[([a-z]+)\]"', path.read_text())
    ]
    assert len(asked) > 4
    assert [pair for pair in asked if pair[1] not in extras[pair[0]]] == []
