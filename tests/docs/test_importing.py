"""The examples of docs/importing.md, in their order, with the shapes that their comments say."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

import kgated
from kgated.interop import to_onnx

TEXT = (Path(__file__).parents[2] / "docs" / "importing.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
SHAPES = re.compile(r"^(\w+) = .*# (\(.*?\)) -> (\(.*?\))$", re.MULTILINE)

pytest.importorskip("torch", reason="PyTorch is not installed")
onnx = pytest.importorskip("onnx", reason="ONNX is not installed")


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the examples leave behind, by name."""
    folder = tmp_path_factory.mktemp("importing")
    layers = [keras.Input((20, 5)), keras.layers.GRU(4), keras.layers.Dense(2)]
    keras.Sequential(layers).save(folder / "old.h5")
    gru = kgated.GRU(4, reset_after=True, return_sequences=True)
    gru.build((None, None, 5))
    onnx.save(to_onnx(gru), folder / "net.onnx")
    scope = {"folder": folder}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in BLOCKS:
            exec(block, scope)
            for name, takes, gives in SHAPES.findall(block):
                model = scope[name]
                if isinstance(model, keras.Model):
                    assert str(model.input_shape) == takes, name
                    assert str(model.output_shape) == gives, name
                    scope.setdefault("checked", []).append(name)
    return scope


def run(model, x):
    return keras.ops.convert_to_numpy(model(x.numpy()))


def test_the_shapes_are_those_of_the_comments(names):
    assert names["checked"] == ["model", "model", "last_frame", "last_states", "model"]


def test_both_forms_of_the_last_frame_are_those_of_pytorch(names):
    torch, x, out, h = (names[name] for name in ("torch", "x", "out", "h"))
    last_frame, last_states = (run(names[name], x) for name in ("last_frame", "last_states"))
    assert np.abs(last_frame - out[:, -1].numpy()).max() < 1e-5
    assert np.abs(last_states - torch.cat([h[-2], h[-1]], dim=1).numpy()).max() < 1e-5
    assert np.abs(last_frame - last_states).max() > 1e-2


def test_the_tagger_computes_what_it_computed(names):
    with names["torch"].no_grad():
        expected = names["tagger"](names["x"]).numpy()
    tagger = keras.saving.load_model(names["folder"] / "tagger.keras")
    assert np.abs(run(tagger, names["x"]) - expected).max() < 1e-5
