"""`kgated inspect`: what it says of a file is what is in the file."""

import io
import json

import keras
import numpy as np
import pytest
from rich.console import Console

import kgated
from kgated.deploy.inspect import as_plain, describe, show
from kgated.deploy.lowering.converter import lower
from kgated.deploy.recipe import Recipe
from kgated.deploy.streaming import step_model
from kgated.deploy.tflite import flatbuffer


@pytest.fixture
def model():
    layers = [keras.Input((None, 5)), kgated.LSTM(16, name="cell"), keras.layers.Dense(3)]
    return keras.Sequential(layers, name="sensor")


@pytest.fixture
def path(model, rng, tmp_path):
    x = rng.normal(size=(4, 8, 5)).astype(np.float32)
    facts = {"labels": ["a", "b", "c"], "sample_period_s": 0.01}
    kgated.to_tflite(model, tmp_path / "m.tflite", quantize="int8", calibration=x, **facts)
    return tmp_path / "m.tflite"


def text_of(path):
    out = io.StringIO()
    show(describe(path), Console(file=out, width=120))
    return out.getvalue()


def test_inspect_lists_the_content_of_a_kgated_file(path, model):
    description = describe(path)
    (signature,) = description.signatures
    assert signature.name == "step"
    shapes = {tensor.name: tensor.shape for tensor in signature.inputs}
    assert shapes == {"frame": (1, 5), "cell_h": (1, 16), "cell_c": (1, 16)}
    assert {tensor.dtype for tensor in signature.inputs} == {"int8"}
    assert {t.name: t.scale for t in signature.outputs}["cell_c"] is not None
    assert description.file_bytes == path.stat().st_size
    matrices = sum(w.size for w in model.get_weights() if w.ndim == 2)
    assert description.weight_bytes["int8"] == matrices
    assert description.operators["LOGISTIC"] == 3
    assert description.manifest.recipe["quantize"] == "int8"


def test_the_text_names_states_types_and_operators(path):
    text = text_of(path)
    for word in ("step", "cell_h", "state in", "int8", "1 x 16", "3 LOGISTIC", "KiB", "sensor"):
        assert word in text
    assert "quantize int8" in text
    assert "a, b, c" in text


def test_json_holds_the_same(path):
    plain = json.loads(json.dumps(as_plain(describe(path))))
    assert plain["file_bytes"] == path.stat().st_size
    assert plain["manifest"]["recipe"]["quantize"] == "int8"
    assert [state["name"] for state in plain["manifest"]["states"]] == ["cell_h", "cell_c"]
    names = {tensor["name"] for tensor in plain["signatures"][0]["inputs"]}
    assert names == {"frame", "cell_c", "cell_h"}


def test_nothing_in_the_manifest_is_left_out(model, tmp_path):
    options = {"mode": "sequence", "max_length": 7, "lowering": "while", "batch": 2}
    conversion = kgated.to_tflite(model, tmp_path / "m.tflite", **options)
    plain = json.loads(json.dumps(as_plain(describe(conversion.path))))["manifest"]
    held = json.loads(conversion.manifest.to_json())
    assert set(plain) == set(held)
    assert set(plain["golden"]) == set(held["golden"])
    assert plain["golden"]["outputs"] == {"output": [1, 3]}
    text = " ".join(text_of(conversion.path).split())
    for words in (
        *("each_frame False", "padded True", "batch 2", "frames_per_step 7", "single output"),
        *("lowering while", "2 x 7 x 5", "lengths in int32 2", "shape 5"),
        *("golden frames frames", f"tolerance {conversion.manifest.golden.tolerance}"),
    ):
        assert words in text, words
    assert describe(conversion.path).manifest.file_sha256 in text


def test_a_file_of_another_tool(model, tmp_path):
    (tmp_path / "other.tflite").write_bytes(flatbuffer.pack(lower(step_model(model), Recipe())))
    assert describe(tmp_path / "other.tflite").manifest is None
    assert "not made by `kgated convert`" in text_of(tmp_path / "other.tflite")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content[:300], "damaged"),
        (lambda content: b"\x00" * 8 + content[8:], "not a TFLite file"),
        (lambda content: b"", "not a TFLite file"),
        (lambda content: content[:-40] + bytes(40), "digest|damaged"),
    ],
)
def test_other_files_are_refused_in_a_line(path, change, message):
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as caught:
        describe(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
