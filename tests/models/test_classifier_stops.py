"""What a training leaves behind: after Ctrl-C, in its folder, and compiled for whose labels."""

import keras
import numpy as np
import pytest
from kgated_edge.evaluation.dataset import SequenceData

import kgated_cli
from kgated.data import save_npz
from kgated.models import train_classifier
from kgated.training import Batches, Plan

PLAN = Plan(epochs=4, patience=9, batch_size=8, learning_rate=0.02)


@pytest.fixture
def data(tmp_path, rng):
    """A data set of sequences that go up (1) or down (0)."""
    y = np.arange(24) % 2
    x = rng.normal(size=(24, 1, 2)) + np.linspace(0, 1, 6)[:, None] * (2 * y - 1)[:, None, None]
    lengths = np.full(24, 6)
    save_npz(tmp_path / "data.npz", SequenceData(x.astype(np.float32), lengths, y))
    return tmp_path / "data.npz"


@pytest.fixture
def stop_in_epoch(monkeypatch):
    """Ctrl-C at the end of an epoch, counted from 1."""

    def stop(epoch):
        real, epochs = (
            Batches.on_epoch_end,
            iter(range(100)),
        )  # Keras calls it once before the first

        def pulled(self):
            if next(epochs) == epoch:
                raise KeyboardInterrupt
            real(self)

        monkeypatch.setattr(Batches, "on_epoch_end", pulled)

    return stop


def test_ctrl_c_keeps_the_best_model(data, tmp_path, stop_in_epoch, capfd):
    stop_in_epoch(3)
    arguments = ["train", data, tmp_path / "m.keras", "--units", 4, "--epochs", 9, "--quiet"]
    with pytest.raises(SystemExit) as stop:
        kgated_cli.main([*map(str, arguments)])
    assert stop.value.code == 130
    error = capfd.readouterr().err
    assert f"the best model so far is {tmp_path / 'm.keras'}" in error
    assert error.count("\n") == 1
    with np.load(data) as arrays:
        _, accuracy = keras.saving.load_model(tmp_path / "m.keras").evaluate(
            arrays["x"], arrays["y"], verbose=0
        )
    assert accuracy > 0.6


def test_ctrl_c_with_a_folder_prints_how_to_resume(data, tmp_path, stop_in_epoch):
    stop_in_epoch(2)
    with pytest.raises(KeyboardInterrupt, match=r"best\.keras: the same call continues"):
        train_classifier(
            data, tmp_path / "m.keras", units=4, plan=PLAN, quiet=True, folder=tmp_path / "run"
        )
    assert not (tmp_path / "m.keras").exists()
    assert (tmp_path / "run" / "best.keras").exists()


def test_a_finished_folder_is_not_overwritten_by_other_options(data, tmp_path, rng):
    folder, output = tmp_path / "run", tmp_path / "m.keras"

    def train(units=4, source=data, **plan):
        options = Plan(**{"epochs": 2, "batch_size": 8, **plan})
        return train_classifier(
            source, output, units=units, plan=options, quiet=True, folder=folder
        ).history

    first = train()
    log = (folder / "log.csv").read_text()
    with pytest.raises(
        ValueError, match=r"a finished training with other options .units 4 became 5"
    ):
        train(units=5)
    with pytest.raises(ValueError, match="epochs 2 became 3, seed 0 became 1"):
        train(epochs=3, seed=1)
    moved = SequenceData(
        rng.normal(size=(8, 6, 2)).astype(np.float32), np.full(8, 6), np.arange(8) % 2
    )
    save_npz(tmp_path / "moved.npz", moved)
    with pytest.raises(ValueError, match=r"data .* became"):
        train(source=tmp_path / "moved.npz")
    assert (folder / "log.csv").read_text() == log
    assert train()["val_loss"] == pytest.approx(first["val_loss"], abs=1e-5)
    (folder / "options.json").unlink()
    with pytest.raises(ValueError, match="options unknown: name another folder"):
        train()


@pytest.mark.parametrize("folder", [None, "run"])
def test_the_model_is_compiled_for_the_labels_of_the_data(folder, data, tmp_path):
    place = None if folder is None else tmp_path / folder
    train_classifier(data, tmp_path / "m.keras", units=4, plan=PLAN, quiet=True, folder=place)
    paths = [tmp_path / "m.keras", *([] if place is None else [place / "best.keras"])]
    with np.load(data) as arrays:
        x, y = arrays["x"], arrays["y"]
    for path in paths:
        model = keras.saving.load_model(path)
        loss, accuracy = model.evaluate(x, y, verbose=0)
        probabilities = model.predict(x, verbose=0)
        assert accuracy == pytest.approx((probabilities.argmax(axis=1) == y).mean())
        assert loss == pytest.approx(-np.log(probabilities[np.arange(len(y)), y]).mean(), rel=1e-4)


@pytest.mark.parametrize("labels", [[0, 10, 20, 30], [1, 2, 3, 4], [-1, 0, 1, 2]])
def test_labels_with_gaps_are_refused(labels, tmp_path, rng):
    y = np.repeat(labels, 6)
    x = rng.normal(size=(24, 5, 2)).astype(np.float32)
    save_npz(tmp_path / "data.npz", SequenceData(x, np.full(24, 5), y))
    with pytest.raises(ValueError, match=r"must be 0\.\.3 for 4 classes.*np\.unique"):
        train_classifier(tmp_path / "data.npz", tmp_path / "m.keras", plan=PLAN, quiet=True)
