"""A classifier trained from a file, and its training interrupted and gone on with."""

import io

import keras
import numpy as np
import pytest
from rich.console import Console

import kgated
import kgated_cli
from kgated.data import SequenceData, pad, real_frames, save_npz
from kgated.models import sequence_classifier, train_classifier
from kgated.training import Batches, Disturbance, Plan
from kgated.training import fit as fit_classifier


def updown(rng, count):
    """Sequences that go up (1) or down (0)."""
    y = np.arange(count) % 2
    slopes = [np.linspace(0, 2 * label - 1, 6)[:, None] for label in y]
    return pad([(rng.normal(size=2) + s).astype(np.float32) for s in slopes], y)


def test_fit_interrupted_and_called_again_equals_the_uninterrupted(tmp_path, rng, monkeypatch):
    train, held_out = updown(rng, 16), updown(rng, 8)
    noise = Disturbance(stretch=0.0)
    plan = Plan(epochs=5, patience=9, batch_size=8, learning_rate=0.02, disturbance=noise)

    screen = io.StringIO()

    def run(folder):
        model = sequence_classifier(frames=real_frames(train), classes=2, units=4)
        console = Console(file=screen, width=120)
        history = fit_classifier(model, train, held_out, plan, console=console, folder=folder)
        return model.get_weights(), history

    weights, history = run(tmp_path / "whole")
    real = Batches.on_epoch_end
    left = iter([None, None])

    def pulled(self):
        if next(left, "plug") == "plug":
            raise KeyboardInterrupt
        real(self)

    with monkeypatch.context() as patch:
        patch.setattr(Batches, "on_epoch_end", pulled)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "cut")
    assert list((tmp_path / "cut").glob("backup*"))
    screen.seek(screen.truncate(0))
    again, history_again = run(tmp_path / "cut")
    assert "5/5" in screen.getvalue()  # those before the cut are counted
    assert history_again.history.keys() == history.history.keys() >= {"val_loss", "accuracy"}
    assert history_again.epoch == history.epoch == [0, 1, 2, 3, 4]
    for name, values in history.history.items():
        assert history_again.history[name] == pytest.approx(values, abs=1e-6)
    for gated, reference in zip(again, weights, strict=True):
        np.testing.assert_allclose(gated, reference, rtol=0, atol=1e-6)


def test_a_data_set_on_disk_becomes_a_classifier_on_disk(tmp_path, rng):
    save_npz(tmp_path / "d.npz", updown(rng, 40))
    quiet = Disturbance(stretch=0.0, noise=0.0, mix=0.0)
    plan = Plan(epochs=20, batch_size=8, learning_rate=0.02, disturbance=quiet)
    history = train_classifier(
        tmp_path / "d.npz", tmp_path / "m.keras", cell="GRU", units=8, plan=plan, quiet=True
    )
    best = max(history.history["val_accuracy"])
    model = keras.saving.load_model(tmp_path / "m.keras")
    test = updown(rng, 40)
    assert (np.asarray(model(test.x)).argmax(axis=1) == test.y).mean() > 0.9 <= best
    assert [type(layer) for layer in model.layers].count(kgated.GRU) == 1
    assert not list(tmp_path.glob(".m*"))


def test_what_cannot_become_a_classifier_is_refused(tmp_path, rng):
    data = updown(rng, 8)
    save_npz(tmp_path / "d.npz", data)
    save_npz(tmp_path / "none.npz", SequenceData(data.x, data.lengths, None))
    with pytest.raises(ValueError, match=r"`output` must end in \.keras"):
        train_classifier(tmp_path / "d.npz", tmp_path / "m.h5")
    with pytest.raises(ValueError, match="`cell` must be one of"):
        train_classifier(tmp_path / "d.npz", tmp_path / "m.keras", cell="lstm")
    with pytest.raises(ValueError, match="no labels `y` to learn"):
        train_classifier(tmp_path / "none.npz", tmp_path / "m.keras")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        train_classifier(tmp_path / "d.npz", tmp_path / "nowhere" / "m.keras")
    assert not list(tmp_path.glob("m*"))


def test_the_command_trains_as_its_options_say(tmp_path, rng, capfd):
    save_npz(tmp_path / "d.npz", updown(rng, 20))
    options = {"--precision": "mixed_bfloat16", "--clip-norm": "0.5", "--epochs": "2"}
    arguments = ["train", tmp_path / "d.npz", tmp_path / "m.keras", "--folder", tmp_path / "run"]
    arguments += [word for option in options.items() for word in option]
    with pytest.raises(SystemExit) as stop:
        kgated_cli.main([*map(str, arguments), "--tensorboard"])
    assert (stop.value.code, capfd.readouterr().out.count("validation loss")) == (0, 1)
    assert len((tmp_path / "run" / "log.csv").read_text().splitlines()) == 3
    assert list((tmp_path / "run" / "tensorboard").rglob("events*"))
    assert keras.saving.load_model(tmp_path / "m.keras").layers[2].compute_dtype == "bfloat16"
    with pytest.raises(SystemExit):
        kgated_cli.main(["train", "--help"])
    content = capfd.readouterr().out
    for option in (*options, "--patience", "--folder", "--tensorboard", "log.csv"):
        assert option in content
