"""The Python examples of docs/ run in their order, on small data; those on training two epochs."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

import kgated
from kgated.data import SequenceData, pad, save_npz
from kgated.deploy.recipe import LIMITS

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "training.md").read_text()
NOT_RUN = r"<!-- not run in the tests: [^\n]* -->\n"
ALL = re.findall(rf"({NOT_RUN})?```python\n(.*?)```", (DOCS / "optimize.md").read_text(), re.DOTALL)
SMALLER = [code for marker, code in ALL if not marker]
BLOCKS = re.findall(rf"({NOT_RUN})?```python\n(.*?)```", TEXT, re.DOTALL)
EXAMPLES = [code for marker, code in BLOCKS if not marker]


def labelled(rng, lengths):
    sequences = [rng.normal(size=(n, 3)).astype(np.float32) for n in lengths]
    return sequences, [(np.cumsum(s.sum(axis=1)) > 0).astype(np.int32) for s in sequences]


def classifier(**options):
    return keras.Sequential(
        [
            keras.Input((None, 3)),
            kgated.GRU(4, **options),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )


def for_a_file(rng, names):
    sequences, marks = labelled(rng, [5, 7] * 10)
    save_npz("train.npz", pad(sequences, np.array([m[-1] for m in marks])))


def for_keras_fit(rng, names):
    sequences, marks = labelled(rng, [6] * 24)
    x, y = np.stack(sequences), np.stack(marks)[:, -1]
    model = classifier()
    model.compile("adam", "sparse_categorical_crossentropy")
    names.update(x=x[:16], y=y[:16], x_valid=x[16:], y_valid=y[16:], model=model)


def for_recordings(rng, names):
    x, y = labelled(rng, [120] * 16)
    names.update(x=x, y=y, model=classifier(return_sequences=True))


def for_text(rng, names):
    text = "The quick brown fox jumps over the lazy dog.¶" * 14
    names.update(text=text, held_out=text[:100])


def for_devices(rng, names):
    for_keras_fit(rng, names)
    names.update(build=classifier)


PREPARED = [for_a_file, for_keras_fit, for_recordings, for_text, for_devices]


def test_what_is_not_run_is_marked_and_little():
    assert len(BLOCKS) - len(EXAMPLES) == 2
    assert len(EXAMPLES) == len(PREPARED)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="no data parallelism on PyTorch")
def test_examples_run(rng, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names, printed = {"keras": keras, "kgated": kgated, "np": np}, {}
    for prepare, code in zip(PREPARED, EXAMPLES, strict=True):
        prepare(rng, names)
        exec(re.sub(r"epochs=\d+", "epochs=2", code), names)
        printed[prepare] = capsys.readouterr().out.splitlines()
    assert names["history"].history["val_loss"]
    for made in ("speaker.keras", "runs/second/best.keras", "detector.keras"):
        keras.saving.load_model(made)
    bits, written = printed[for_text][-2:]
    assert 0 < float(bits) < 15  # two epochs teach it little
    assert set(written) <= set(names["text"])


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="converts often")
def test_examples_of_smaller_models_run(rng, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"keras": keras, "kgated": kgated}
    for_keras_fit(rng, names)
    save_npz("train.npz", SequenceData(names["x"], np.full(len(names["x"]), 6), names["y"]))
    names.update(x=np.tile(names["x"], (5, 1, 1)), y=np.tile(names["y"], 5))
    for code in SMALLER:
        exec(code, names)
    assert list(kgated.sparsity(names["model"]).values()) == pytest.approx([0.75, 0.75], abs=0.01)
    assert "0.75" in capsys.readouterr().out
    assert Path("pruned.tflite").is_file()
    assert Path("clustered.tflite").is_file()
    assert Path("mixed.tflite").is_file()
    assert all(len(set(w.numpy().ravel())) <= 16 for w in names["model"].layers[0].weights[:2])


DEPLOY = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text()
FOUND = re.findall(r"```python\n(.*?)```", DEPLOY, re.DOTALL)
DEPLOY_EXAMPLES = [code for code in FOUND if "import time" not in code]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="needs minutes elsewhere")
def test_examples_of_deployment_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for code in DEPLOY_EXAMPLES:
        exec(code, {})
    assert len(DEPLOY_EXAMPLES) == len(list(tmp_path.glob("*.tflite"))) - 1 == 3
    assert float(capsys.readouterr().out.split()[1]) < 0.3


def test_limits_of_recipes_are_those_in_the_code():
    names, _, values = re.search(r"(\| none \|.*)\n(.*)\n(.*)", DEPLOY).groups()
    found = dict(zip(*(line.strip("| ").split(" | ") for line in (names, values)), strict=True))
    assert {name: float(value) for name, value in found.items()} == LIMITS
