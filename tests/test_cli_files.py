"""Files that are missing, empty, folders or something else: one sentence that names them."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from closed_pipes import run_into_closed_pipe
from kgated_edge.cli.closed_pipe import CLOSED_PIPE
from kgated_edge.cli.main import main as edge_main

import kgated_cli

FIXTURES = Path(__file__).parent / "edge" / "fixtures"
KGATED = [  # FILE is the bad one, of the ending that follows
    "convert FILE.keras o.tflite",
    "convert FILE.h5 o.tflite",
    "convert model.keras o.tflite --quantize int8 --calibration FILE.npz",
    "convert model.keras o.tflite --evaluation FILE.npz",
    "convert model.keras o.tflite --import FILE.py",
    "convert model.keras o.tflite --recipe FILE.json",
    "convert model.keras o.tflite --labels FILE.txt",
    "compare FILE.npz",
    "compare good.npz --test FILE.npz",
    "intervals FILE.tflite good.npz",
    "intervals speech.tflite FILE.npz",
    "optimize FILE.keras --data good.npz",
    "optimize model.keras --data FILE.npz",
    "inspect FILE.tflite",
    "report FILE.json",
    "report FILE.jsonl",
    "train FILE.npz o.keras",
    "train good.npz o.keras --validation FILE.npz",
    "tune FILE.tflite recordings --false-alarms-per-day 1",
    "data csv FILE.folder o.npz",
    "data wav FILE.folder o.npz",
]
EDGE = [
    "check FILE.tflite --data good.npz",
    "check speech.tflite --data FILE.npz",
    "check speech.tflite --data good.npz --limits FILE.toml",
    "selftest FILE.tflite",
    "realtime FILE.tflite --data good.npz",
    "realtime speech.tflite --data FILE.npz",
    "live FILE.tflite good.npz",
    "live speech.tflite FILE.npz",
    "live speech.tflite FILE.npy",
    "live speech.tflite FILE.wav",
    "events FILE.tflite good.npz",
    "generate FILE.tflite --prompt a",
    "encode FILE.tflite a",
    "decode FILE.tflite 1",
]
CONTENTS = {"empty": b"", "text": b"hello there\nthis is text\n", "bytes": bytes(range(256)) * 4}
# Empty files of these are nothing wrong.
EMPTY_IS_FINE = (".py", ".toml", ".txt")
RAW = ("Errno", "Traceback", "pickle", "filepath=", "signature not found", "()", "None")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    layers = [keras.Input((None, 3)), keras.layers.LSTM(4), keras.layers.Dense(2)]
    keras.Sequential(layers).save(folder / "model.keras")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 7, 3)).astype(np.float32)
    np.savez(folder / "good.npz", x=x, y=np.arange(8) % 2)
    shutil.copy(FIXTURES / "speech.tflite", folder)
    (folder / "recordings").mkdir()
    np.save(folder / "recordings" / "a.npy", x[0])
    return folder


def answer(main, line, monkeypatch, folder, capfd):
    monkeypatch.chdir(folder)
    try:
        status = main(line.split())
    except SystemExit as end:
        status = end.code
    return status, capfd.readouterr().err.strip()


@pytest.mark.parametrize(
    ("main", "line"),
    [*((kgated_cli.main, line) for line in KGATED), *((edge_main, line) for line in EDGE)],
)
def test_a_bad_file_is_named_in_one_sentence(main, line, monkeypatch, folder, capfd):
    (word,) = (word for word in line.split() if "FILE" in word)
    ending = Path(word).suffix
    (folder / f"folder{ending}").mkdir(exist_ok=True)
    for kind, content in CONTENTS.items():
        (folder / f"{kind}{ending}").write_bytes(content)
    for kind in ("missing", "folder", *CONTENTS):
        if kind == "folder" and ending == ".folder":
            continue
        if (kind == "empty" and ending in EMPTY_IS_FINE) or (kind, ending) == ("text", ".txt"):
            continue
        command = line.replace("FILE", kind)
        status, error = answer(main, command, monkeypatch, folder, capfd)
        last = error.splitlines()[-1]
        assert status == 2, command
        assert last.startswith(("kgated: error: ", "kgated-edge: error: ")), command
        assert not [raw for raw in RAW if raw in error], error
        assert f"{kind}{ending}" in last or "after 0 steps" in last, error


def test_class_names_must_differ(monkeypatch, folder, capfd):
    command = "convert model.keras o.tflite --labels a,a"
    status, error = answer(kgated_cli.main, command, monkeypatch, folder, capfd)
    assert (status, error) == (
        2,
        "kgated: error: --labels must be different names. Received: ['a', 'a']",
    )


@pytest.mark.parametrize("arguments", ["--help", "inspect speech.tflite", "inspect FILE.tflite"])
def test_a_closed_pipe_ends_a_command_without_a_message(arguments):
    """`kgated inspect FILE | head -1`; an error keeps its status."""
    words = arguments.replace("speech", str(FIXTURES / "speech")).split()
    wrong = "FILE.tflite" in words
    done = run_into_closed_pipe("stderr" if wrong else "stdout", *words, module="kgated_cli")
    assert done.returncode == (2 if wrong else CLOSED_PIPE)
    assert (done.stdout or "", done.stderr or "") == ("", "")
