"""Training: it learns, keeps the best weights, follows its seed, refuses what can't be learned."""

import io

import keras
import numpy as np
import pytest
from rich.console import Console

import kgated
from kgated.data import SequenceData, pad, real_frames
from kgated.models import sequence_classifier
from kgated.training import Batches, Disturbance, Plan, fit
from kgated.training.batches import resampled

QUIET = Disturbance(stretch=0.0, noise=0.0, mix=0.0)
PLAN = Plan(epochs=6, batch_size=8, learning_rate=0.02)


def rising_or_falling(rng, count):
    """Sequences that go up (1) or down (0), each from another place, of 4 to 8 frames."""
    y = np.arange(count) % 2
    slopes = [
        np.linspace(0, 2 * label - 1, n)
        for label, n in zip(y, rng.integers(4, 9, count), strict=True)
    ]
    return pad([(rng.normal(size=2) + s[:, None]).astype(np.float32) for s in slopes], y)


@pytest.fixture
def train(rng):
    return rising_or_falling(rng, 48)


@pytest.fixture
def validation(rng):
    return rising_or_falling(rng, 16)


@pytest.fixture
def model(train):
    return sequence_classifier(
        kgated.GRU, frames=real_frames(train), classes=2, units=8, dropout=0.0, name="updown"
    )


def test_it_learns_with_clipped_gradients_and_shows_how_far_it_is(model, train, validation):
    screen = io.StringIO()
    plan = Plan(epochs=20, batch_size=8, learning_rate=0.02, clip_norm=0.25)
    history = fit(model, train, validation, plan, console=Console(file=screen, width=120))
    assert history.history["val_accuracy"][-1] > 0.9
    assert "updown" in screen.getvalue()
    assert "20/20" in screen.getvalue()
    assert model.optimizer.global_clipnorm == 0.25


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="counts TensorFlow's traces")
def test_a_training_step_is_traced_once(train, validation, monkeypatch):
    traced = []
    step = keras.Model.train_step
    monkeypatch.setattr(keras.Model, "train_step", lambda *x: traced.append(1) or step(*x))
    model = keras.Sequential([keras.Input((None, 2)), kgated.GRU(4), keras.layers.Dense(2)])
    fit(model, train, validation, Plan(epochs=1, batch_size=16), quiet=True)
    assert len(traced) == 1


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_it_learns_in_mixed_precision(train, validation, precision):
    model = sequence_classifier(
        kgated.GRU, frames=real_frames(train), classes=2, units=8, dropout=0.0, dtype=precision
    )
    plan = Plan(epochs=12, batch_size=16, learning_rate=0.05, precision=precision)
    history = fit(model, train, validation, plan, quiet=True)
    assert history.history["val_accuracy"][-1] > 0.9
    assert model.layers[2].compute_dtype == precision.removeprefix("mixed_")
    scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled is (precision == "mixed_float16")
    assert {w.dtype for w in model.trainable_variables} == {"float32"}


def test_precision_is_the_models(model, train, validation):
    with pytest.raises(ValueError, match=r"`precision` must be one of .*Received: 'float16'"):
        Plan(precision="float16")
    with pytest.raises(ValueError, match="build the model with `dtype='mixed_float16'`"):
        fit(model, train, validation, Plan(precision="mixed_float16"), quiet=True)
    with pytest.raises(ValueError, match=r"`clip_norm` must be above 0\. Received: 0"):
        Plan(clip_norm=0)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"epochs": "9"}, TypeError, "`epochs` must be a number. Received: '9'"),
        ({"batch_size": 8.0}, TypeError, "`batch_size` must be a whole number. Received: 8.0"),
        ({"patience": True}, TypeError, "`patience` must be a number. Received: True"),
        ({"learning_rate": None}, TypeError, "`learning_rate` must be a number"),
        ({"precision": ["float32"]}, TypeError, "`precision` must be a string"),
        ({"disturbance": 0.3}, TypeError, "`disturbance` must be a Disturbance. Received: 0.3"),
        ({"epochs": 0}, ValueError, "`epochs` must be 1 or above. Received: 0"),
        ({"seed": -1}, ValueError, "`seed` must be 0 or above"),
        ({"learning_rate": -1e-3}, ValueError, "`learning_rate` must be above 0"),
        ({"label_smoothing": 1}, ValueError, "`label_smoothing` must be from 0 to below 1"),
    ],
)
def test_plans_say_which_argument_is_wrong(values, error, message):
    with pytest.raises(error, match=message):
        Plan(**values)
    with pytest.raises(TypeError, match=r"`noise` must be a number\. Received: 'loud'"):
        Disturbance(noise="loud")


@pytest.mark.parametrize(("epochs", "patience", "trained_epochs"), [(4, 25, 4), (30, 2, 3)])
def test_it_stops_early_and_leaves_the_best_weights(
    model, train, validation, epochs, patience, trained_epochs
):
    misled = spoilt(validation, y=1 - validation.y)  # the more is learned, the worse it is
    plan = Plan(epochs, patience, batch_size=8, learning_rate=0.02, label_smoothing=0.0)
    losses = fit(model, train, misled, plan, quiet=True).history["val_loss"]
    assert len(losses) == trained_epochs
    assert np.argmin(losses) == 0
    assert losses[-1] > losses[0] + 0.01
    outputs = np.asarray(model(misled.x))
    loss = -np.log(outputs[np.arange(len(misled)), misled.y]).mean()
    assert loss == pytest.approx(losses[0], abs=1e-4)


def test_without_validation_it_trains_all_epochs_and_keeps_the_last(model, train, tmp_path):
    history = fit(model, train, None, Plan(3, 1, batch_size=8), quiet=True).history
    assert len(history["loss"]) == 3
    assert "val_loss" not in history
    assert model.evaluate(train.x, train.y, verbose=0)[0] < history["loss"][0]
    with pytest.raises(ValueError, match="which needs `validation`"):
        fit(model, train, None, Plan(3), quiet=True, folder=tmp_path)


def test_a_seed_gives_the_same_training_whatever_the_padding_holds(train, validation, capfd):
    def rubbish(data):
        real = np.arange(data.x.shape[1]) < data.lengths[:, None]
        return spoilt(data, x=np.where(real[..., None], data.x, np.nan))

    actual = []
    for spoil in (lambda data: data, rubbish):
        model = sequence_classifier(frames=real_frames(train), classes=2, units=4, seed=1)
        history = fit(model, spoil(train), spoil(validation), Plan(2, batch_size=8), quiet=True)
        actual.append((*model.get_weights(), history.history["val_loss"]))
    for first, second in zip(*actual, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-6)
    assert not capfd.readouterr().out


def spoilt(data, **change):
    fields = {"x": data.x.copy(), "lengths": data.lengths, "y": data.y} | change
    return SequenceData(**fields)


def with_nan(data):
    bad = spoilt(data)
    bad.x[3, 1, 0] = np.nan
    return bad


@pytest.mark.parametrize("name", ["train", "validation"])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (with_nan, "holds NaN or inf in sequence 3, frame 1"),
        (lambda d: spoilt(d, y=d.y + 1), r"labels in 0\.\.1.*Received: 2 for sequence 1"),
        (lambda d: spoilt(d, y=d.y - 1), "Received: -1 for sequence 0"),
        (lambda d: spoilt(d, y=None), "one integer per sequence. Received: none"),
        (lambda d: spoilt(d, y=d.y.astype(float)), "float64"),
        (lambda d: spoilt(d, x=d.x[..., :1]), "frames of 2 features"),
        (lambda d: spoilt(d, x=d.x[:0], lengths=d.lengths[:0], y=d.y[:0]), "is empty"),
    ],
    ids=["nan", "too high", "negative", "no labels", "not integers", "features", "empty"],
)
def test_what_can_t_be_learned_from_is_refused(model, train, validation, name, spoil, message):
    sets = {"train": train, "validation": validation}
    sets[name] = spoil(sets[name])
    with pytest.raises(ValueError, match=f"`{name}`.*{message}") as caught:
        fit(model, sets["train"], sets["validation"], PLAN, quiet=True)
    assert "\n" not in str(caught.value)


def test_batches_undisturbed_are_the_data(train):
    targets = np.eye(2, dtype=np.float32)[train.y]
    batches = Batches(train, targets, 10, QUIET)
    assert [len(batches[k][0]) for k in range(len(batches))] == [10, 10, 10, 10, 8]
    results = {}
    for k in range(len(batches)):
        for x, y in zip(*batches[k], strict=True):
            results[x[x.any(axis=-1)].tobytes()] = y.tolist()
    wanted = {
        x[:n].tobytes(): y.tolist() for x, n, y in zip(train.x, train.lengths, targets, strict=True)
    }
    assert results == wanted


def test_batches_differ_from_epoch_to_epoch(train):
    batches = Batches(train, np.eye(2, dtype=np.float32)[train.y], 48, Disturbance())
    first = batches[0][0]
    batches.on_epoch_end()
    assert np.abs(first - batches[0][0]).max() > 0.1


def test_mixing_mixes_targets_by_the_same_share(rng):
    """With frames that are their own target, each mixture must still be its own target."""
    y = rng.integers(3, size=40)
    targets = np.eye(3, dtype=np.float32)[y]
    data = pad([np.tile(t, (5, 1)) for t in targets], y)
    x, mixed = Batches(data, targets, 40, Disturbance(stretch=0.0, noise=0.0, mix=0.5))[0]
    np.testing.assert_allclose(x, np.repeat(mixed[:, None], 5, axis=1), atol=1e-6)
    assert ((mixed > 0.05) & (mixed < 0.95)).any()


def test_noise_has_the_size_asked_for(rng):
    data = pad([rng.normal(0.0, [1.0, 10.0], (50, 2)).astype(np.float32) for _ in range(40)])
    y = np.zeros((40, 1), np.float32)
    x, _ = Batches(data, y, 40, Disturbance(stretch=0.0, noise=0.5, mix=0.0))[0]
    assert x.std(axis=(0, 1)) == pytest.approx(np.sqrt(1.25) * np.array([1.0, 10.0]), rel=0.05)


@pytest.mark.parametrize("wanted", [1, 2, 5, 9])
def test_resampling_is_linear_interpolation_over_time(rng, wanted):
    data = pad([rng.normal(size=(n, 2)).astype(np.float32) for n in (5, 1, 7)])
    actual = resampled(data.x, data.lengths, np.full(3, wanted))
    for n, row, sequence in zip(data.lengths, actual, data.x, strict=True):
        place = np.linspace(0.0, n - 1.0, wanted)
        for feature in range(2):
            expected = np.interp(place, np.arange(n), sequence[:n, feature])
            np.testing.assert_allclose(row[:, feature], expected, atol=1e-5)


def test_a_negative_disturbance_is_refused():
    with pytest.raises(ValueError, match="`noise` must be 0 or above"):
        Disturbance(noise=-0.1)


def test_batches_follow_their_seed(train):
    targets = np.eye(2, dtype=np.float32)[train.y]
    first, second, different = (
        Batches(train, targets, 48, Disturbance(), s)[0][0] for s in (5, 5, 6)
    )
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - different).max() > 0.1
