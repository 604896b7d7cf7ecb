"""From a folder of sound to the device: what the data set says stays with the model."""

import json
import wave

import keras
import numpy as np
import pytest
from kgated_edge import check, load_wav_folder, read_manifest
from kgated_edge.cli.main import main as edge
from kgated_edge.format.reader import parse_manifest

import kgated
from kgated.data import (
    BuildOptions,
    FrontEndOptions,
    LabelOptions,
    SequenceData,
    csv_to_npz,
    load_npz,
    save_npz,
    wav_to_npz,
)
from kgated.data.matching import with_class_numbers
from kgated.models import data_info, sequence_classifier, train_classifier
from kgated.training import Plan

TENSORFLOW = keras.backend.backend() == "tensorflow"


def write_wav(path, hz, seed, rate=8000, channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(0, 300, 3000)
    tone = np.rint(6000 * np.sin(2 * np.pi * hz * np.arange(3000) / rate) + noise)
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(np.repeat(tone.astype("<i2"), channels).tobytes())


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A folder of tones, its data set, and a file of a model on its frames."""
    folder = tmp_path_factory.mktemp("sound")
    for label, hz in (("low", 300), ("high", 2000)):
        for n in range(3):
            write_wav(folder / "in" / label / f"{n}.wav", hz, n)
    front_end = FrontEndOptions(kind="mfcc", mels=12, coefficients=5, deltas=1)
    wav_to_npz(folder / "in", folder / "data.npz", front_end, standardize=True)
    data = load_npz(folder / "data.npz")
    frames = data.x.reshape(-1, 10)
    model = sequence_classifier(kgated.GRU, frames=frames, classes=2, units=4, info=data.info)
    model.save(folder / "m.keras")
    if TENSORFLOW:
        loaded = keras.saving.load_model(folder / "m.keras")
        kgated.to_tflite(loaded, folder / "m.tflite", calibration=folder / "data.npz")
    return folder


def test_a_saved_model_and_its_quantize_aware_copy_keep_the_description(sound, tmp_path):
    info = load_npz(sound / "data.npz").info
    model = keras.saving.load_model(sound / "m.keras")
    assert data_info(model) == info
    assert info.class_names == ("high", "low")
    model.save(tmp_path / "again.keras")
    assert data_info(keras.saving.load_model(tmp_path / "again.keras")) == info
    qat = kgated.quantize_aware(model)
    qat.save(tmp_path / "qat.keras")
    assert data_info(keras.saving.load_model(tmp_path / "qat.keras")) == info


tensorflow_only = pytest.mark.skipif(not TENSORFLOW, reason="converts")


@tensorflow_only
def test_the_manifest_holds_labels_features_period_and_front_end(sound):
    manifest, info = read_manifest(sound / "m.tflite"), load_npz(sound / "data.npz").info
    assert manifest.labels == info.class_names == ("high", "low")
    assert manifest.feature_names == info.feature_names
    assert manifest.feature_names[:1] + manifest.feature_names[5:6] == ("mfcc 0", "delta mfcc 0")
    assert manifest.front_end == info.front_end
    assert manifest.sample_period_s == 0.01
    again = parse_manifest(manifest.to_json())
    assert (again.front_end, again.feature_names) == (manifest.front_end, manifest.feature_names)


@tensorflow_only
@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("front_end", lambda spec: {**spec, "deltas": 0, "mean": None, "scale": None}, "front_end"),
        ("front_end", lambda spec: {**spec, "hop": 90}, "sample_period_s"),
        ("front_end", lambda spec: 7, "front_end"),
        ("feature_names", lambda names: names[:-1], "feature_names"),
        ("feature_names", lambda names: [names[0]] * 10, "feature_names"),
        ("feature_names", lambda names: "mfcc", "feature_names"),
    ],
)
def test_a_manifest_whose_front_end_does_not_fit_is_refused(sound, field, change, message):
    document = json.loads(read_manifest(sound / "m.tflite").to_json())
    document[field] = change(document[field])
    with pytest.raises(kgated_edge_error(), match=message):
        parse_manifest(json.dumps(document))


def kgated_edge_error():
    from kgated_edge import ManifestError

    return ManifestError


@tensorflow_only
def test_the_device_makes_the_same_frames_of_the_folder(sound):
    manifest, data = read_manifest(sound / "m.tflite"), load_npz(sound / "data.npz")
    device = load_wav_folder(sound / "in", manifest)
    assert device.x.tobytes() == data.x.tobytes()
    assert device.y.tolist() == data.y.tolist() == [0, 0, 0, 1, 1, 1]
    assert check(sound / "m.tflite", device).accuracy == check(sound / "m.tflite", data).accuracy


@tensorflow_only
def test_check_takes_a_folder_and_live_the_file(sound, capsys):
    assert edge(["check", str(sound / "m.tflite"), "--data", str(sound / "in")]) == 0
    assert "sequences / steps     6 / " in capsys.readouterr().out
    path = str(sound / "in" / "low" / "0.wav")
    assert edge(["live", str(sound / "m.tflite"), path]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + (3000 - 200) // 80
    assert edge(["live", str(sound / "m.tflite"), path, "--hop", "80", "--rate", "8000"]) == 0
    for option, value in (("--hop", 100), ("--window", 400), ("--rate", 16000), ("--low-hz", 50)):
        capsys.readouterr()
        assert edge(["live", str(sound / "m.tflite"), path, option, str(value)]) == 2
        assert "the model's front end has" in capsys.readouterr().err


@tensorflow_only
def test_the_device_refuses_other_recordings_in_one_sentence(sound, tmp_path, capsys):
    def refusal(folder):
        assert edge(["check", str(sound / "m.tflite"), "--data", str(folder)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    write_wav(tmp_path / "a" / "low" / "a.wav", 300, 0, rate=16000)
    assert "sox" in refusal(tmp_path / "a")
    assert "takes 8000" in refusal(tmp_path / "a")
    write_wav(tmp_path / "b" / "hum" / "a.wav", 300, 0)
    assert "'hum' is none of the model's labels" in refusal(tmp_path / "b")
    write_wav(tmp_path / "b" / "a.wav", 300, 0)
    assert "some have none" in refusal(tmp_path / "b")
    content = (sound / "in" / "low" / "0.wav").read_bytes()
    (tmp_path / "c" / "low").mkdir(parents=True)
    (tmp_path / "c" / "low" / "a.wav").write_bytes(content[:1000])
    assert "cut short" in refusal(tmp_path / "c")


@tensorflow_only
def test_data_of_another_front_end_or_order_of_classes(sound, tmp_path):
    mfcc = FrontEndOptions(kind="mfcc", mels=14, coefficients=5, deltas=1)
    wav_to_npz(sound / "in", tmp_path / "other.npz", mfcc)
    with pytest.raises(ValueError, match="`mels` is 14 instead of 12"):
        check(sound / "m.tflite", tmp_path / "other.npz")
    names = load_npz(sound / "data.npz")
    wav_to_npz(
        sound / "in",
        tmp_path / "turned.npz",
        FrontEndOptions(kind="mfcc", mels=12, coefficients=5, deltas=1),
        options=BuildOptions(classes=("low", "high")),
        standardize=True,
    )
    turned = load_npz(tmp_path / "turned.npz")
    assert turned.y.tolist() == [1, 1, 1, 0, 0, 0]
    accuracies = [check(sound / "m.tflite", data).accuracy for data in (names, turned)]
    assert accuracies[0] == accuracies[1]


def sensors(tmp_path, persons=4):
    rng = np.random.default_rng(0)
    for label, size in (("still", 0.1), ("shake", 1.0)):
        for n in range(persons):
            path = tmp_path / "in" / label / f"p{n}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = rng.normal(0, size, (60, 2))
            lines = [
                "time,ax,ay",
                *(f"{k / 50:.2f},{a:.4f},{b:.4f}" for k, (a, b) in enumerate(rows)),
            ]
            path.write_text("\n".join(lines))
    return tmp_path / "in"


PLAN = Plan(epochs=2, batch_size=4)


def test_a_mapped_data_set_trains_with_only_batches_in_memory(tmp_path, monkeypatch):
    from kgated_edge.evaluation.file_array import FileArray

    options = BuildOptions(window="20f", format="npy", split={"valid": 0.25}, group="(p[0-9])")
    csv_to_npz(sensors(tmp_path), tmp_path / "d.npz", options=options)
    sizes, read = [], FileArray.__getitem__

    def counting(self, index):
        rows = read(self, index)
        sizes.append(rows.nbytes)
        return rows

    monkeypatch.setattr(FileArray, "__getitem__", counting)
    monkeypatch.setattr(FileArray, "__array__", lambda *_: pytest.fail("all of it was read"))
    history = train_classifier(
        tmp_path / "d-train.npz",
        tmp_path / "m.keras",
        validation=tmp_path / "d-valid.npz",
        units=4,
        plan=PLAN,
        quiet=True,
    )
    assert np.isfinite(history.history["val_loss"]).all()
    assert max(sizes) <= 4 * 20 * 2 * 4
    assert data_info(keras.saving.load_model(tmp_path / "m.keras")).feature_names == ("ax", "ay")


def test_a_person_in_both_files_is_refused(tmp_path):
    root = sensors(tmp_path)
    for name in ("a", "b"):
        csv_to_npz(root, tmp_path / f"{name}.npz", options=BuildOptions(group="(p[0-9])"))
    with pytest.raises(ValueError, match=r"b\.npz: 'p0' is in the training data and in"):
        train_classifier(
            tmp_path / "a.npz", tmp_path / "m.keras", validation=tmp_path / "b.npz", plan=PLAN
        )
    csv_to_npz(root, tmp_path / "c.npz", labels=LabelOptions(pattern="(p[0-9])"))
    with pytest.raises(ValueError, match=r"c\.npz: the data have the class 'p0'"):
        train_classifier(
            tmp_path / "a.npz", tmp_path / "m.keras", validation=tmp_path / "c.npz", plan=PLAN
        )
    assert not (tmp_path / "m.keras").exists()


def test_labels_are_taken_as_texts_and_frames_as_float64(tmp_path, rng):
    x = rng.normal(size=(8, 5, 2)) + np.arange(8)[:, None, None] % 2
    np.savez(tmp_path / "d.npz", x=x, y=np.array(["no", "yes"] * 4))
    train_classifier(tmp_path / "d.npz", tmp_path / "m.keras", units=2, plan=PLAN, quiet=True)
    names = data_info(keras.saving.load_model(tmp_path / "m.keras")).class_names
    assert names == ("no", "yes")


def test_classes_as_floats_and_booleans_become_integers():
    x, lengths = np.zeros((3, 2, 1), np.float32), np.full(3, 2)
    for y in ([0.0, 2.0, 1.0], [False, True, True]):
        numbers = with_class_numbers(SequenceData(x, lengths, np.array(y))).y
        assert numbers.dtype == np.int64
        assert numbers.tolist() == y
    assert with_class_numbers(SequenceData(x, lengths, np.array([0.5, 1, 2]))).y.dtype == float


def test_what_is_saved_keeps_the_description(tmp_path, rng):
    data = load_npz_of_texts(tmp_path, rng)
    save_npz(tmp_path / "again.npz", data)
    again = load_npz(tmp_path / "again.npz")
    assert (again.info, again.y.tolist()) == (data.info, data.y.tolist())


def load_npz_of_texts(tmp_path, rng) -> SequenceData:
    x = rng.normal(size=(4, 5, 2)).astype(np.float32)
    np.savez(
        tmp_path / "d.npz",
        x=x,
        y=np.array(["b", "a", "b", "a"]),
        feature_names=np.array(["u", "v"]),
        sample_period_ms=12.5,
    )
    return load_npz(tmp_path / "d.npz")
