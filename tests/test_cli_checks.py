"""What the command finds wrong before Keras and TensorFlow are imported.

The calls are in a process where neither can be imported: an answer that needed one would be
another.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
# Reads lists of arguments, and prints what the command did with each.
WITHOUT = """
import json, os, sys, tempfile
for name in ("keras", "tensorflow", "jax", "torch"):
    sys.modules[name] = None
from kgated_cli import main

def call(arguments):
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        try:
            status = main(arguments)
        except SystemExit as exit:
            status = exit.code
        sys.stdout.flush()
        sys.stderr.flush()
        out.seek(0)
        err.seek(0)
        return status, out.read(), err.read(), sorted(os.listdir())

results = os.fdopen(os.dup(1), "w")
json.dump([call(arguments) for arguments in json.load(sys.stdin)], results)
"""


def calls(folder, lists_of_arguments):
    """For each list: exit status, standard output and error, and the files in the folder then."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT],
        input=json.dumps(lists_of_arguments),
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'edge'}"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files by name; the folder's other files are damaged in the way that their names say."""
    folder = tmp_path_factory.mktemp("files")
    layers = [keras.Input((7, 3)), keras.layers.LSTM(4), keras.layers.Dense(2)]
    keras.Sequential(layers).save(folder / "model.keras")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 7, 3)).astype(np.float32)
    np.savez(folder / "good.npz", x=x, y=np.arange(8) % 2)
    np.savez(folder / "gaps.npz", x=x, y=10 * (np.arange(8) % 4))
    np.savez(folder / "plain.npz", x=x)
    np.savez(folder / "words.npz", x=x, y=np.zeros(8, complex))
    np.savez(folder / "types.npz", a=np.array(["a"]), b=np.zeros((2, 3), bool))
    np.savez(folder / "wide.npz", x=np.zeros((8, 7, 5), np.float32), y=np.arange(8) % 2)
    (folder / "bad.npz").write_text("no archive")
    (folder / "syntax.py").write_text("class Layer(:\n")
    (folder / "saved").mkdir()
    (folder / "saved" / "saved_model.pb").write_bytes(b"")
    (folder / "twice.txt").write_text("\na\nb\na\n")
    for name in ("weights.pt", "net.onnx", "net.tflite", "text.txt", "recipe.json"):
        (folder / name).write_text("{}")
    return folder


MODEL = ("convert", "model.keras", "out.tflite")
TRAIN = ("train", "good.npz", "out.keras")
OPTIMIZE = ("optimize", "model.keras", "--data", "good.npz")
ANSWERS = [
    ((*MODEL, "--mode", "both"), "`mode` must be one of"),
    ((*MODEL, "--quantize", "int3"), "`quantize` must be one of"),
    ((*MODEL, "--vocabulary", "absent.txt"), "absent.txt: No such file or directory"),
    ((*MODEL, "--vocabulary", "twice.txt"), "twice.txt: `vocabulary.tokens` must be tokens that"),
    (
        (*MODEL, "--vocabulary", "recipe.json"),
        "recipe.json: a vocabulary must be tokens, or a",
    ),
    ((*MODEL, "--threshold", "nan"), "--threshold must be a finite number"),
    ((*MODEL, "--target", "mcu"), "`target='mcu'` computes in integers"),
    ((*MODEL, "--batch", "0"), "`batch`"),
    ((*MODEL, "--skip", "a"), "`skip` names layers"),
    ((*MODEL, "--length", "7"), "--length is for `--mode sequence`"),
    ((*MODEL, "--mode", "sequence", "--max-length", "0"), "--max-length must be 1"),
    ((*MODEL, "--sample-period-ms", "0"), "--sample-period-ms must be above 0"),
    ((*MODEL, "--figure", "accuracy=98.4"), "write accuracy=0.984"),
    ((*MODEL, "--figure", "speed=1"), "`figure` must name some of"),
    ((*MODEL, "--figure", "accuracy"), "`figure` must be NAME=NUMBER"),
    ((*MODEL, "--recipe", "text.txt", "--quantize", "int8"), "--recipe brings --quantize"),
    ((*MODEL, "--recipe", "none.json"), "none.json"),
    ((*MODEL, "--calibration", "none.npz"), "no such file"),
    ((*MODEL, "--calibration", "bad.npz"), "not an intact .npz file"),
    ((*MODEL, "--calibration", "types.npz"), "`a` must be float32 or int32, got <U1"),
    ((*MODEL, "--calibration", "types.npz"), "`b` must be float32 or int32, got bool"),
    ((*MODEL, "--quantize", "int8"), "needs `calibration`"),
    ((*MODEL, "--import", "none.py"), "--import none.py: no such file"),
    ((*MODEL, "--import", "text.txt"), "no Python file"),
    ((*MODEL, "--import", "syntax.py"), "--import syntax.py, line 1"),
    ((*MODEL, "--json", "none/report.json"), "no folder none"),
    (("convert", "model.keras", "none/out.tflite"), "no folder none"),
    (("convert", "model.keras", "model.keras"), "one of the inputs"),
    (("convert", "none.keras", "out.tflite"), "none.keras: no such file"),
    (("convert", "saved", "out.tflite"), "this is a SavedModel"),
    (("convert", "weights.pt", "out.tflite"), "kgated.interop.from_torch"),
    (("convert", "net.onnx", "out.tflite"), "kgated.interop.from_onnx"),
    (("convert", "net.tflite", "out.tflite"), "no way back to Keras"),
    ((*OPTIMIZE, "--quantize", "none"), "nothing to lose"),
    ((*OPTIMIZE, "--mode", "both"), "`mode` must be one of"),
    ((*OPTIMIZE, "--limit", "-1"), "`limit` must be 0 or more"),
    ((*OPTIMIZE, "-o", "good.npz"), "one of the inputs"),
    ((*OPTIMIZE, "--calibration", "bad.npz"), "not an intact"),
    (("optimize", "model.keras", "--data", "plain.npz"), "must be class labels"),
    (("optimize", "none.keras", "--data", "good.npz"), "no such file"),
    ((*TRAIN, "--cell", "RNN"), "`cell` must be one of"),
    ((*TRAIN, "--precision", "int8"), "`precision` must be one of"),
    ((*TRAIN, "--learning-rate", "0"), "--learning-rate must be above 0"),
    ((*TRAIN, "--clip-norm", "-1"), "--clip-norm must be above 0"),
    ((*TRAIN, "--dropout", "1"), "--dropout must be"),
    ((*TRAIN, "--units", "0"), "--units"),
    ((*TRAIN, "--tensorboard"), "`tensorboard` needs a `folder`"),
    ((*TRAIN, "--folder", "text.txt"), "it is a file"),
    ((*TRAIN, "--validation", "bad.npz"), "not an intact"),
    ((*TRAIN, "--validation", "wide.npz"), "shape (3,) of those in good.npz"),
    (("train", "good.npz", "out.h5"), "must end in .keras"),
    (("train", "good.npz", "none/out.keras"), "no folder none"),
    (("train", "gaps.npz", "out.keras"), "must be 0..3 for 4 classes, without gaps"),
    (("train", "plain.npz", "out.keras"), "no labels `y`"),
    (("train", "words.npz", "out.keras"), "`y` must hold numbers"),
    (("demo", "--out", "text.txt"), "it is a file"),
    (("inspect", "text.txt"), "not a TFLite file"),
    (("inspect", "none.tflite"), "no such file"),
    (("report", "text.txt", "-o", "none/page.html"), "no folder none"),
    (("report", "none.json"), "none.json"),
]


@pytest.fixture(scope="module")
def answers(files):
    """What each call of `ANSWERS` did, and the files that were there before."""
    before = sorted(path.name for path in files.iterdir())
    return calls(files, [arguments for arguments, _ in ANSWERS]), before


@pytest.mark.parametrize(("number", "words"), [(n, words) for n, (_, words) in enumerate(ANSWERS)])
def test_bad_options_are_refused_before_keras_is_imported(number, words, answers):
    done, before = answers
    status, out, error, after = done[number]
    assert status == 2, error
    assert out == ""
    assert words in error
    assert error.startswith("kgated: error: ")
    assert error.count("\n") == 1
    assert after == before


def test_a_valid_call_reaches_the_import_of_keras(files):
    """Otherwise the answers above could all be of a command that never gets there."""
    for status, _, error, _ in calls(files, [MODEL, TRAIN, OPTIMIZE]):
        assert status == 2
        assert "import of" in error
        assert "None in sys.modules" in error
