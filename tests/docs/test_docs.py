"""The Python examples of docs/ run in their order, on small data; those on training two epochs."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from documents import blocks, page

import kgated
from kgated.data import SequenceData, pad, save_npz
from kgated.deploy.recipe import QUANTIZATIONS

TRAINING = page("docs/training.md")
EXAMPLES = blocks(TRAINING, "python")
SMALLER = blocks(page("docs/optimize.md"), "python")
CONVERSIONS = [
    (name, code)
    for name in ("deploy", "streaming", "sequences")
    for code in blocks(page(f"docs/{name}.md"), "python")
]


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


def for_minimal_cells(rng, names):
    """The example builds its model alone."""


def for_devices(rng, names):
    for_keras_fit(rng, names)
    names.update(build=classifier)


PREPARED = [
    for_a_file,
    for_keras_fit,
    for_recordings,
    for_text,
    for_minimal_cells,
    for_devices,
]


def test_what_is_not_run_is_marked_and_little():
    assert len(blocks(TRAINING, "python", marked_not_run=True)) == 2
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
    for result in ("speaker.keras", "runs/second/best.keras", "detector.keras"):
        keras.saving.load_model(result)
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


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="needs minutes elsewhere")
@pytest.mark.parametrize(("name", "code"), CONVERSIONS)
def test_examples_of_conversion_run(name, code, tmp_path, monkeypatch, capsys):
    if "import torch" in code or ", torch" in code:
        pytest.importorskip("torch", reason="torch is not installed: the example was NOT run")
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    files = re.findall(r"kgated\.to_tflite\(\w+, \"(\S+)\"", code)
    assert sorted(files) == sorted(path.name for path in tmp_path.iterdir())
    if printed := capsys.readouterr().out.split():
        assert float(printed[1]) < QUANTIZATIONS["int8"].limit


def test_every_guide_of_conversion_has_examples():
    assert {name for name, _ in CONVERSIONS} == {"deploy", "streaming", "sequences"}


@pytest.mark.parametrize("code", [code for _, code in CONVERSIONS])
def test_examples_state_shapes(code):
    """Each input, model call and array of an example has its shape in a comment."""
    needs = r"keras\.Input|np\.(zeros|ones|random)|\.run\(|\.step\(|random\.normal"
    lines = [line for line in code.splitlines() if re.search(needs, line)]
    lines = [line for line in lines if not line.lstrip().startswith("assert")]
    assert lines
    assert not [line for line in lines if not re.search(r"#.*\(", line)]


def test_limits_of_recipes_are_those_in_the_code():
    names, _, values = re.search(r"(\| none \|.*)\n(.*)\n(.*)", page("docs/deploy.md")).groups()
    documented = dict(
        zip(*(line.strip("| ").split(" | ") for line in (names, values)), strict=True)
    )
    limits = {name: quantization.limit for name, quantization in QUANTIZATIONS.items()}
    assert {name: float(value) for name, value in documented.items()} == limits
