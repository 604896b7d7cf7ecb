"""Distillation: the loss by its equations, and a model that learns from a teacher."""

import keras
import numpy as np
import pytest

from kgated.data import pad
from kgated.training import Disturbance, Plan, SoftTargets, fit
from kgated.training.distillation import without_soft_targets


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def entropies(targets, outputs):
    return -(targets * np.log(outputs)).sum(axis=-1)


def test_the_loss_is_that_of_the_equations(rng):
    teacher, outputs = softmax(rng.normal(size=(6, 4))), softmax(rng.normal(size=(6, 4)))
    labels = np.eye(4, dtype=np.float32)[rng.integers(4, size=6)]
    t, w = 2.5, 0.3
    soft = SoftTargets(teacher, temperature=t, weight=w)
    loss = soft.loss(label_smoothing=0.0)
    softened, own = softmax(np.log(teacher) / t), softmax(np.log(outputs) / t)
    expected = (1 - w) * entropies(labels, outputs) + w * t**2 * entropies(softened, own)
    rows = loss.call(soft.beside(labels), outputs.astype(np.float32))
    np.testing.assert_allclose(rows, expected, rtol=1e-5)
    plain = loss.call(without_soft_targets(labels), outputs.astype(np.float32))
    np.testing.assert_allclose(plain, entropies(labels, outputs), rtol=1e-5)


def test_a_model_learns_the_teachers_decisions_where_labels_say_nothing(rng):
    x = rng.normal(size=(60, 3, 2)).astype(np.float32)
    data = pad(list(x), rng.integers(2, size=60))
    decisions = (x.sum(axis=(1, 2)) > 0).astype(int)
    validation = pad(list(x), decisions)
    outputs = 0.9 * np.eye(2)[decisions] + 0.05
    model = keras.Sequential([keras.Input((3, 2)), keras.layers.Flatten(), keras.layers.Dense(2)])
    model.add(keras.layers.Softmax())
    plan = Plan(40, 40, learning_rate=0.05, disturbance=Disturbance(0.0, 0.0, 0.0))
    soft = SoftTargets(outputs, temperature=2.0, weight=1.0)
    fit(model, data, validation, plan, quiet=True, soft_targets=soft)
    own = model.predict(x, verbose=0).argmax(axis=-1)
    assert np.mean(own == decisions) > 0.9
    assert np.mean(own == data.y) < 0.8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0.0}, "`temperature` must be above 0"),
        ({"weight": 1.5}, "`weight` must be in 0..1"),
        ({"outputs": np.full((3, 2), np.nan)}, "finite probabilities"),
    ],
)
def test_numbers_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        SoftTargets(**{"outputs": np.full((3, 2), 0.5), **changes})


def test_outputs_of_other_data_are_refused():
    soft = SoftTargets(np.full((3, 2), 0.5))
    with pytest.raises(ValueError, match=r"shape \(4, 2\), a row per sequence"):
        soft.beside(np.eye(2, dtype=np.float32)[[0, 1, 0, 1]])
