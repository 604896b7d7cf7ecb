"""Training that is stopped, killed, resumed, diverges, or hears a recording in pieces."""

import csv
import signal

import keras
import numpy as np
import pytest
import warm_processes

import kgated
from kgated.training import DivergenceError, start_or_resume
from kgated.training.callbacks import KeepBest, Log

FEATURES, UNITS, STEPS = 3, 4, 5
# Defines `train(folder, die_at)`: a training that kills its own process in the middle of an epoch.
TRAINING = """
import os, signal
import keras, numpy as np, kgated
from kgated.training import NextEpoch, Recordings, carry_state, start_or_resume

class Die(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.at, self.epoch = epoch, None
    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (self.at, 1):
            os.kill(os.getpid(), signal.SIGKILL)

def train(folder, die_at=None):
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(n, 3)).astype("float32") for n in (11, 23, 17, 8)]
    y = [(np.cumsum(r.sum(axis=1)) > 0).astype("int32") for r in x]
    model = keras.Sequential([
        keras.Input((None, 3)), kgated.GRU(6, return_sequences=True),
        keras.layers.Dropout(0.3, seed=1), keras.layers.Dense(2),
    ])
    twin = carry_state(model, 2)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    twin.compile(keras.optimizers.Adam(0.05, global_clipnorm=1.0), loss)
    data, held_out = Recordings(x, y, 2, 5, seed=1), Recordings(x[:2], y[:2], 2, 5)
    run = start_or_resume(twin, folder, patience=3, keep=model)
    twin.fit(data, shuffle=False, validation_data=held_out, epochs=12, verbose=0,
             initial_epoch=run.initial_epoch,
             callbacks=[NextEpoch(data), *run.callbacks, Die(die_at)])
    return run, model
"""


def training(folder):
    names = {}
    exec(TRAINING, names)
    return names["train"](folder)


def without_clock(rows):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


@pytest.mark.slow
def test_a_killed_training_resumed_equals_the_uninterrupted(tmp_path):
    died, full = tmp_path / "died", tmp_path / "whole"
    code = f"{TRAINING}\ntrain({str(died)!r}, die_at=4)"
    child = warm_processes.run("-c", code)
    assert child.returncode == -signal.SIGKILL, child.stderr[-2000:]
    assert [p.name for p in died.glob("backup*")] == ["backup-000004.npz"]
    resumed, model = training(died)
    straight, expected = training(full)
    assert (resumed.initial_epoch, straight.initial_epoch) == (4, 0)
    actual, wanted = without_clock(resumed.log.rows), without_clock(straight.log.rows)
    assert len(actual) == len(wanted) > 5
    for gated, reference in zip(actual, wanted, strict=True):
        assert gated == pytest.approx(reference, abs=1e-6)
    at_kill, at_end = wanted[3], wanted[-1]
    assert abs(at_kill["loss"] - at_end["loss"]) > 1e-3
    best = [keras.saving.load_model(folder / "best.keras") for folder in (died, full)]
    for pair in ((model, expected), best):
        for gated, reference in zip(*(m.get_weights() for m in pair), strict=True):
            np.testing.assert_allclose(gated, reference, rtol=0, atol=1e-6)
    assert not list(died.glob("backup*"))


def classifier(**options):
    return keras.Sequential(
        [keras.Input((None, FEATURES)), kgated.LSTM(UNITS, **options), keras.layers.Dense(2)]
    )


def compiled(model, rate=0.01, optimizer=keras.optimizers.SGD, **clip):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer(rate, **clip), loss)
    return model


@pytest.fixture
def data(rng):
    x = rng.normal(size=(16, STEPS, FEATURES)).astype(np.float32)
    return x, (x.sum(axis=(1, 2)) > 0).astype(np.int32)


def fit(model, data, folder, epochs, validation_data=None, **options):
    run = start_or_resume(model, folder, monitor="loss", **options)
    model.fit(
        *data,
        batch_size=8,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        initial_epoch=run.initial_epoch,
        callbacks=run.callbacks,
        validation_data=validation_data,
    )
    return run


def test_a_diverging_loss_names_the_epoch_and_keeps_the_last_good_backup(tmp_path, data):
    model = compiled(classifier(activation="linear"), rate=0.01)
    x, y = data
    with pytest.raises(DivergenceError, match=r"loss is nan in epoch 1, batch 1. Lower the learn"):
        fit(model, (np.where(x > 2, np.nan, x) * np.nan, y), tmp_path / "nan", 2)

    class Spoil(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                self.model.set_weights([w * np.inf for w in self.model.get_weights()])

    run = start_or_resume(model := compiled(classifier()), tmp_path / "inf", monitor="loss")
    with pytest.raises(DivergenceError, match="in epoch 3, batch 1"):
        model.fit(x, y, epochs=5, verbose=0, callbacks=[Spoil(), *run.callbacks])
    assert [p.name for p in (tmp_path / "inf").glob("backup*")] == ["backup-000002.npz"]
    again = compiled(classifier())
    assert start_or_resume(again, tmp_path / "inf", monitor="loss").initial_epoch == 2
    assert all(np.isfinite(w).all() for w in again.get_weights())


def test_a_validation_loss_that_is_nan_is_told_too(tmp_path, data):
    x, y = data
    with pytest.raises(DivergenceError, match="val_loss is nan in epoch 1"):
        fit(compiled(classifier()), data, tmp_path, 2, validation_data=(x * np.nan, y))


def test_the_log_is_a_csv_file_digit_for_digit(tmp_path, data):
    run = fit(compiled(classifier()), data, tmp_path, 3)
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    assert rows == run.log.rows
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert rows[0]["loss"] > rows[2]["loss"]
    assert 0 < rows[0]["seconds"] < rows[2]["seconds"]


def test_tensorboard_gets_its_events(tmp_path, data):
    pytest.importorskip("tensorboard")
    fit(compiled(classifier()), data, tmp_path, 1, tensorboard=True)
    assert list((tmp_path / "tensorboard").rglob("events.out.tfevents.*"))


def test_tensorboard_that_is_not_installed_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        start_or_resume(compiled(classifier()), tmp_path, tensorboard=True)


def log_of(losses, path):
    log = Log(path, 0)
    log.rows = [{"epoch": n, "val_loss": loss} for n, loss in enumerate(losses)]
    return log


@pytest.mark.parametrize(
    ("losses", "stops"),
    [([3, 2, 1], False), ([1, 2], False), ([1, 2, 3], True), ([2, 1, 1, 1], True)],
)
def test_stops_when_the_best_is_patience_epochs_ago(tmp_path, losses, stops):
    keep = KeepBest(
        tmp_path / "m.keras", log_of(losses, tmp_path / "log"), "val_loss", 2, classifier()
    )
    keep.set_model(classifier())
    keep.model.stop_training = False
    keep.on_epoch_end(len(losses) - 1)
    assert keep.model.stop_training is stops
    assert keep.path.exists() is (losses[-1] < min([*losses[:-1], 9]))


def test_the_best_model_is_kept_and_not_the_last(tmp_path, data):
    model = compiled(classifier(), rate=0.5)

    class Worse(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3:
                self.model.set_weights([w + 3.0 for w in self.model.get_weights()])

    run = start_or_resume(model, tmp_path)
    history = model.fit(
        *data,
        epochs=4,
        verbose=0,
        shuffle=False,
        validation_data=data,
        callbacks=[Worse(), *run.callbacks],
    ).history
    best = compiled(keras.saving.load_model(tmp_path / "best.keras", compile=False))
    assert best.evaluate(*data, verbose=0) == pytest.approx(min(history["val_loss"]), abs=1e-5)
    assert history["val_loss"][-1] > min(history["val_loss"]) + 0.01


def test_what_cannot_be_prepared_is_refused(tmp_path, data):
    with pytest.raises(ValueError, match="`model` must be compiled"):
        start_or_resume(classifier(), tmp_path)
    with pytest.raises(ValueError, match="`patience` must be None or at least 1"):
        start_or_resume(compiled(classifier()), tmp_path, patience=0)
    run = start_or_resume(model := compiled(classifier()), tmp_path)
    with pytest.raises(ValueError, match=r"`monitor` must be one of .*Received: 'val_loss'"):
        model.fit(*data, verbose=0, callbacks=run.callbacks)


def test_the_backup_of_another_model_is_refused(tmp_path, data):
    model = compiled(classifier())
    np.savez(tmp_path / "backup-000002.npz", *model.get_weights())
    different = keras.Sequential([keras.Input((None, FEATURES)), kgated.LSTM(9)])
    with pytest.raises(ValueError, match="is of another model: use a new folder"):
        start_or_resume(compiled(different), tmp_path)


def test_a_backup_that_was_being_written_is_not_taken(tmp_path, data):
    (tmp_path / ".backup-000007.npz").write_bytes(b"half")
    assert start_or_resume(compiled(classifier()), tmp_path).initial_epoch == 0


def test_clipping_bounds_the_step(data):
    x, y = data
    for clip, bound in ((None, np.inf), (0.01, 0.01)):
        model = compiled(classifier(), rate=1.0, global_clipnorm=clip)
        before = model.get_weights()
        model.train_on_batch(x * 10, y)
        moved = [a - b for a, b in zip(model.get_weights(), before, strict=True)]
        norm = np.sqrt(sum((m**2).sum() for m in moved))
        assert (norm > 0.05) if clip is None else (norm == pytest.approx(bound, rel=1e-4))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_learns_with_float32_weights(data, policy):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((None, FEATURES)),
            kgated.PeepholeLSTM(UNITS, dtype=policy),
            keras.layers.Dense(2, dtype="float32"),
        ]
    )
    optimizer = keras.optimizers.Adam(0.03)
    if policy == "mixed_float16":  # Keras scales the loss by itself for a global policy alone
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss)
    losses = model.fit(*data, epochs=25, verbose=0, shuffle=False).history["loss"]
    assert losses[-1] < 0.7 * losses[0]
    assert model.layers[0].compute_dtype == policy.removeprefix("mixed_")
    assert {w.dtype for w in model.trainable_variables} == {"float32"}


def test_a_sequence_hidden_whole_gives_the_heads_bias_and_learns_nothing_odd(data):
    x, y = data
    x[3] = 0.0
    model = keras.Sequential(
        [
            keras.Input((None, FEATURES)),
            keras.layers.Masking(),
            kgated.GRU(UNITS),
            keras.layers.Dense(2, bias_initializer="ones"),
        ]
    )
    compiled(model, optimizer=keras.optimizers.Adam)
    np.testing.assert_array_equal(np.asarray(model(x))[3], np.ones(2))
    assert np.abs(np.asarray(model(x))[2] - 1.0).max() > 1e-3
    before = model.get_weights()
    model.fit(x[3:4], y[3:4], epochs=2, verbose=0)
    moved = [np.abs(a - b).max() for a, b in zip(model.get_weights(), before, strict=True)]
    assert moved[:-1] == [0.0] * (len(moved) - 1)  # of an empty sequence the bias alone can learn
    assert 0 < moved[-1] < 0.1
