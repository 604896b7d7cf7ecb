"""The defaults on few recordings, and the warning of a model that learned nothing."""

import warnings

import numpy as np
import pytest
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import StandardScaler

import kgated_cli
from kgated.data import SequenceData, pad, real_frames, save_npz, split
from kgated.models import ChanceWarning, train_classifier
from kgated.models.chance import nearest_frame_means, nearest_means, warn_of_chance
from kgated.study.fitting import WeightedBatches
from kgated.training import Plan, fitting


def levels(rng, count, classes=3):
    """Sequences near one level per class, with a large offset."""
    y = np.arange(count) % classes
    return pad([(9.81 + k + rng.normal(0, 0.1, (5, 2))).astype(np.float32) for k in y], y)


@pytest.mark.parametrize(
    ("sequences", "batch_size", "steps"),
    [(1, None, 6), (12, None, 6), (40, None, 7), (192, None, 6), (999, None, 32), (12, 32, 1)],
)
def test_few_sequences_give_an_epoch_of_six_steps(rng, sequences, batch_size, steps):
    plan, data = Plan(batch_size=batch_size), levels(rng, sequences)
    targets = np.eye(3, dtype=np.float32)[data.y]
    batches = fitting._batches(data, targets, plan)
    arrays = (data.x, targets, np.ones(sequences))
    size, passes = plan.sequences_per_step(sequences), plan.passes_over(sequences)
    assert len(batches) == len(WeightedBatches(arrays, size, 0, passes)) == steps
    assert sum(len(batches[n][0]) for n in range(steps)) == passes * sequences


def test_the_defaults_learn_from_few_recordings(tmp_path, rng):
    """18 recordings, as of a first try; with one step per epoch the loss ends at 0.72."""
    save_npz(tmp_path / "d.npz", levels(rng, 18))
    plan = Plan(epochs=10, learning_rate=0.02)
    history = train_classifier(
        tmp_path / "d.npz", tmp_path / "m.keras", cell="MinGRU", units=8, plan=plan, quiet=True
    ).history
    assert history["val_accuracy"][-1] == 1.0
    assert min(history["val_loss"]) < 0.6


def test_the_command_names_a_model_of_chance(tmp_path, rng, capfd):
    """Equal sequences of all classes: there is nothing to tell them apart by."""
    frames = rng.normal(size=(5, 2)).astype(np.float32)
    save_npz(tmp_path / "d.npz", pad([frames] * 18, np.arange(18) % 3))
    options = ["--cell", "MinGRU", "--units", "2", "--epochs", "1"]
    with pytest.raises(SystemExit) as stop:
        kgated_cli.main(["train", f"{tmp_path}/d.npz", f"{tmp_path}/m.keras", *options, "--quiet"])
    shown = capfd.readouterr()
    lines = [line for line in shown.err.splitlines() if line.startswith("kgated: warning: ")]
    assert stop.value.code == 0
    assert len(lines) == 1
    assert "33.33%, is no better than always answering class 0 (33.33%): try" in lines[0]


@pytest.mark.parametrize(
    ("accuracy", "words"),
    [(1 / 3, "no better than always answering class 0"), (0.6, "of a linear model"), (1.0, None)],
)
def test_a_warning_compares_with_simpler_answers(rng, accuracy, words):
    train, validation = split(levels(rng, 60), 0.5, seed=0)
    assert (nearest_means(train, validation) == validation.y).all()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_chance(accuracy, train, validation)
    assert [issubclass(w.category, ChanceWarning) for w in caught] == ([True] if words else [])
    assert words is None or words in str(caught[0].message)


def frames_of_two(rng, count, frames=12, noise=0.1):
    """Recordings whose frames lie near one level per class, and change class in the middle."""
    y = np.repeat([[0, 1]], count, axis=0).repeat(frames // 2, axis=1)
    x = 9.81 + y[..., None] + rng.normal(0, noise, (count, frames, 2))
    return SequenceData(x.astype(np.float32), np.full(count, frames), y)


@pytest.mark.parametrize(
    ("accuracy", "words"),
    [(0.5, "no better than always answering class 0"), (0.9, "of a linear model"), (0.99, None)],
)
def test_a_warning_compares_frames_with_simpler_answers(rng, accuracy, words):
    train, validation = frames_of_two(rng, 4), frames_of_two(rng, 10)
    assert (nearest_frame_means(train, validation) == validation.y.ravel()).all()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_chance(accuracy, train, validation)
    assert [issubclass(w.category, ChanceWarning) for w in caught] == ([True] if words else [])
    assert words is None or words in str(caught[0].message)
    assert words is None or "another --steps, or more" in str(caught[0].message)


def test_the_linear_model_of_frames_is_that_of_scikit_learn(rng):
    train, test = frames_of_two(rng, 5, noise=1.0), frames_of_two(rng, 9, noise=1.0)
    for data in (train, test):
        data.lengths[:] = rng.integers(8, 13, len(data))
    learned, tested = real_frames(train), real_frames(test)
    scaler = StandardScaler().fit(learned)
    y = np.concatenate([row[:length] for row, length in zip(train.y, train.lengths, strict=True)])
    expected = NearestCentroid().fit(scaler.transform(learned), y).predict(scaler.transform(tested))
    decisions = nearest_frame_means(train, test)
    assert 0.5 < (decisions == 0).mean() < 0.7
    assert np.array_equal(decisions, expected)
