"""`kgated train --streaming`: labels per frame, carried state, a model for an endless stream."""

import keras
import numpy as np
import pytest
from kgated_edge import EdgeModel
from typer.testing import CliRunner

import kgated
from kgated.data import SensorAugmentation, SequenceData, split_recordings
from kgated.models import frame_classifier, train_streaming
from kgated.training import Plan, Recordings, fit_streaming, streaming
from kgated.training.streaming import sections
from kgated_cli.app import app

PLAN = Plan(epochs=8, learning_rate=0.03, batch_size=8)


def recordings(count, frames, seed=0):
    """Recordings (count, frames, 2): a pulse of one feature turns a class on, of the other off."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 0.1, (count, frames, 2)).astype(np.float32)
    y = np.zeros((count, frames), np.int64)
    for row, labels in zip(x, y, strict=True):
        for start in range(int(rng.integers(5, 20)), frames, 40):
            end = start + int(rng.integers(10, 30))
            row[start, 0] += 3.0
            row[end : end + 1, 1] += 3.0
            labels[start:end] = 1
    return SequenceData(x, np.full(count, frames), y)


@pytest.fixture(scope="module")
def trained():
    train, validation = recordings(8, 240), recordings(8, 240, seed=1)
    model = frame_classifier(kgated.GRU, frames=train.x.reshape(-1, 2), classes=2, units=8)
    history = fit_streaming(model, train, validation, PLAN, steps=20, quiet=True)
    return model, history.history


def test_training_learns_what_needs_the_state(trained):
    model, history = trained
    assert min(history["val_loss"]) < 0.6 * history["val_loss"][0]
    test = recordings(1, 1000, seed=2)
    right = (np.asarray(model(test.x)).argmax(-1) == test.y)[0]
    assert right.mean() > 0.9
    assert right[700:].mean() > 0.9  # as good on a state that is old


def test_the_file_answers_every_frame_as_the_model(trained, tmp_path):
    model, _ = trained
    kgated.to_tflite(model, tmp_path / "m.tflite", calibration=recordings(2, 60).x)
    x = recordings(1, 120, seed=3).x
    np.testing.assert_allclose(
        EdgeModel(tmp_path / "m.tflite").run(x[0]), np.asarray(model(x))[0], atol=1e-4
    )


@pytest.fixture(scope="module")
def strided():
    train, validation = recordings(8, 242), recordings(8, 240, seed=1)
    frames = train.x.reshape(-1, 2)
    model = frame_classifier(kgated.GRU, frames=frames, classes=2, units=8, stride=3)
    history = fit_streaming(model, train, validation, PLAN, steps=21, quiet=True)
    return model, history.history


def test_a_stride_trains_an_answer_for_each_k_frames(strided):
    model, history = strided
    assert max(history["val_accuracy"]) > 0.85
    test = recordings(1, 900, seed=2)
    answers = np.asarray(model(test.x))[0].argmax(-1)
    assert answers.shape == (300,)
    assert (answers == test.y[0, 2::3]).mean() > 0.85


def test_the_file_answers_after_each_k_frames_as_the_model(strided, tmp_path):
    model, _ = strided
    kgated.to_tflite(model, tmp_path / "m.tflite", calibration=recordings(2, 60).x)
    x, edge = recordings(1, 120, seed=3).x, EdgeModel(tmp_path / "m.tflite")
    assert edge.manifest.frames_per_result == 3
    np.testing.assert_allclose(edge.run(x[0]), np.asarray(model(x))[0], atol=1e-4)


def test_a_batch_has_the_target_of_the_last_of_k_frames():
    x = [np.zeros((11, 1), np.float32), np.zeros((5, 1), np.float32)]
    data = Recordings(x, [np.arange(11), 20 + np.arange(5)], 1, 6, stride=3)
    batches = [data[n] for n in range(len(data))]
    inputs, y, weights = (np.concatenate(part) for part in zip(*map(_plain, batches), strict=True))
    assert inputs.shape == (len(data), 6, 1)
    assert y[weights > 0].tolist() == [2, 5, 8, 22]
    np.testing.assert_allclose(weights[weights > 0], 2 * len(data) / 4)


def _plain(batch):
    return batch[0]["x"], batch[1], batch[2]


def test_strides_that_do_not_fit_are_refused():
    x, y = [np.zeros((9, 1), np.float32)], [np.zeros(9, np.int64)]
    with pytest.raises(ValueError, match="`steps` must be a multiple of the frames per output, 4"):
        Recordings(x, y, 1, 6, stride=4)
    with pytest.raises(ValueError, match=r"a recording of 12 frames or more.*longest has 9"):
        Recordings(x, y, 1, 12, stride=12)
    with pytest.raises(ValueError, match="`stride` must be at least 1"):
        frame_classifier(kgated.GRU, frames=x[0], classes=2, stride=0)


def test_sections_hold_all_frames_in_whole_chunks():
    data = recordings(3, 250)
    data = SequenceData(data.x, np.array([250, 90, 10]), data.y)
    x, y = sections(data, rows=5, steps=20)
    assert len(x) >= 5
    frames = [data.x[n, :length] for n, length in enumerate(data.lengths)]
    np.testing.assert_array_equal(np.concatenate(x), np.concatenate(frames))
    assert [len(part) for part in x] == [len(part) for part in y]


def test_no_recording_is_on_both_sides_of_a_split():
    data = recordings(10, 100)
    data = SequenceData(data.x, data.lengths, data.y, groups=np.repeat(list("abcde"), 2))
    stays, aside = split_recordings(data, 0.2)
    assert len(stays) + len(aside) == 10
    assert len(aside) >= 2
    assert not set(stays.groups) & set(aside.groups)


def test_augmentation_differs_from_epoch_to_epoch(monkeypatch):
    drawn = []
    original = SensorAugmentation.__call__

    def record(self, x, *arguments):
        drawn.append(original(self, x, *arguments))
        return drawn[-1]

    monkeypatch.setattr(SensorAugmentation, "__call__", record)
    data = recordings(1, 40)
    model = frame_classifier(kgated.GRU, frames=data.x[0], classes=2, units=2)
    plan = Plan(epochs=2, augmentation=SensorAugmentation(jitter=0.5))
    fit_streaming(model, data, data, plan, steps=40, quiet=True)
    assert np.abs(drawn[0] - drawn[-1]).max() > 0.1


@pytest.mark.parametrize(
    ("count", "batch_size", "steps"),
    [(1, None, 6), (5, None, 6), (40, None, 8), (400, None, 26), (5, 8, 2)],
)
def test_few_recordings_give_an_epoch_of_six_steps(count, batch_size, steps):
    data, rows = recordings(count, 30), min(count, 32)
    plan = Plan(batch_size=batch_size)
    chunks = streaming._chunks("train", data, rows, 20, 2, 1, plan)
    assert len(chunks) == steps
    frames = sum(int((chunks[n][2] > 0).sum()) for n in range(steps))
    assert frames % (count * 30) == 0


def test_what_cannot_be_set_aside_names_the_way_out(tmp_path):
    x, y = np.zeros((2, 40, 1), np.float32), np.repeat([[0, 1], [0, 2]], 20, axis=1)
    for rows, words in ((2, "no validation data can be set aside"), (1, "only one recording")):
        np.savez(tmp_path / "d.npz", x=x[:rows], y=np.minimum(y[:rows], rows))
        with pytest.raises(ValueError, match=f"d.npz: .*{words}.* add --validation") as refused:
            train_streaming(tmp_path / "d.npz", tmp_path / "m.keras", quiet=True)
        assert "--group" not in str(refused.value)


def test_the_command_trains_and_refuses(tmp_path):
    data, labelled = recordings(6, 120), tmp_path / "data.npz"
    np.savez(labelled, x=data.x, y=data.y, class_names=np.array(["background", "tap"]))
    run = CliRunner().invoke
    options = [
        "--streaming",
        "--steps",
        "30",
        "--stride",
        "2",
        "--units",
        "4",
        "--epochs",
        "1",
        "--quiet",
    ]
    result = run(app, ["train", str(labelled), str(tmp_path / "m.keras"), *options])
    assert result.exit_code == 0, result.output
    model = keras.saving.load_model(tmp_path / "m.keras", compile=False)
    assert model.output_shape == (None, None, 2)
    assert model.get_layer("front").strides == (2,)
    assert kgated.models.data_info(model).class_names == ("background", "tap")
    np.savez(tmp_path / "one.npz", x=data.x, y=data.y[:, 0] + np.arange(6) % 2)
    for arguments, message in [
        (["one.npz", *options], "needs labels `y` \\(N, T\\)"),
        (["data.npz", *options, "--folder", str(tmp_path)], "--folder and --tensorboard"),
        (["data.npz", "--epochs", "1"], "train with --streaming"),
        (["data.npz", *options, "--stride", "4"], "`steps` must be a multiple of the frames"),
        (["one.npz", "--stride", "2"], "--stride works with --streaming alone"),
    ]:
        result = run(app, ["train", str(tmp_path / arguments[0]), "m.keras", *arguments[1:]])
        assert result.exit_code != 0
        with pytest.raises(ValueError, match=message):
            raise result.exception
