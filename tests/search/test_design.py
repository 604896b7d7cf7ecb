"""Designs: strides and low rank as models, the choice of a file, the stop of hopeless trainings."""

from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from kgated_edge import EdgeModel

from kgated.data import pad, zero_padded
from kgated.deploy import to_tflite
from kgated.optimize import sparsity
from kgated.pages.pareto import pareto_front
from kgated.search.choice import Explanation, Goal, choose
from kgated.search.design.model import build, frame_means, with_frame_means, zero_smallest_weights
from kgated.search.design.space import Design, SearchSpace, Training
from kgated.search.measurement.files import Budget, FileCost
from kgated.search.report.build import teacher_sentences
from kgated.search.report.results import TeacherResult
from kgated.search.trials.outcome import Outcome, Rejected, front
from kgated.search.trials.queue import SEED, should_prune, unused_seed
from kgated.study.models import ModelOptions
from kgated.study.tasks.definitions import CLASSIFICATION, FRAMES
from kgated.study.tasks.metrics import ACCURACY, RMSE


def outcome(name, value, kib, us=10.0, number=0, metric=ACCURACY):
    cost = FileCost(int(1024 * kib), int(512 * kib), us, 2 * us, 0.01)
    training = Training(1e-3, 0.0, 0.0)
    score = metric.gain(value, 0.0)
    return Outcome(number, Design(name, 8), training, 100, 1.0, 5, value, score, cost, 1.0)


@pytest.fixture(scope="module")
def sequences():
    rng = np.random.default_rng(0)
    return pad([rng.normal(size=(n, 6)).astype(np.float32) for n in (9, 4, 7)], np.arange(3))


def test_a_stride_is_the_mean_of_frames_in_the_model_and_on_the_host(sequences):
    design = Design("gru", 4, stride=2)
    means = frame_means(sequences, 2, per_frame=False)
    assert means.lengths.tolist() == [4, 2, 3]
    model = build(design, ModelOptions(CLASSIFICATION, means.x[0, :4], 3))
    complete = with_frame_means(model, design, None)
    expected = model.predict(means.x, verbose=0)
    for n, length in enumerate(sequences.lengths // 2 * 2):
        own = complete.predict(zero_padded(sequences)[n : n + 1, :length], verbose=0)[0]
        np.testing.assert_allclose(own, expected[n], atol=1e-6)


def test_a_design_of_stride_and_low_rank_streams_exactly(sequences, tmp_path):
    design = Design("lstm", 8, layers=2, stride=2, rank=2, quantize="none")
    trained = build(design, ModelOptions(CLASSIFICATION, sequences.x[0], 3))
    model = with_frame_means(trained, design, None)
    by_name = {layer.name: layer for layer in model.layers}
    assert by_name["rank_1"].kernel.shape == (6, 3)
    assert by_name["rank_2"].kernel.shape == (4, 2)
    assert by_name["recurrent_1"].cell.recurrent_kernel.shape == (4, 32)
    assert by_name["recurrent_2"].cell.kernel.shape == (2, 32)
    to_tflite(model, tmp_path / "model.tflite", mode="stream")
    edge = EdgeModel(tmp_path / "model.tflite")
    assert edge.manifest.frames_per_step == 2
    frames = sequences.x[0, :8]
    outputs = [edge.step(block) for block in frames.reshape(4, 2, 6)]
    np.testing.assert_allclose(outputs[-1], model.predict(frames[None], verbose=0)[0], atol=1e-5)


@pytest.mark.parametrize("cell", ["rnn", "peephole", "gru", "mingru", "minlstm"])
def test_every_cell_has_a_model_of_low_rank_and_two_layers(cell, sequences):
    options = ModelOptions(CLASSIFICATION, sequences.x[0], 3)
    model = build(Design(cell, 4, layers=2, rank=2), options)
    assert model.output_shape == (None, 3)
    full = build(Design(cell, 4, layers=2), replace(options, task=FRAMES))
    assert isinstance(full.layers[1], keras.layers.RNN)
    assert full.output_shape == (None, None, 3)


def test_the_smallest_weights_become_zero(sequences):
    model = build(Design("gru", 4), ModelOptions(CLASSIFICATION, sequences.x[0], 3))
    zero_smallest_weights(model, 0.5)
    assert sparsity(model) == {"recurrent_1": 0.5, "outputs": 0.5}


def test_the_name_has_all_that_a_design_is():
    assert Design("gru", 16, 2, 4, 2, 0.5, "int8").name == "gru-16x2-stride4-rank2-sparse50-int8"
    assert Design("lstm", 8).name == "lstm-8-dynamic"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cells": ("tree",)}, "'tree'"),
        ({"units": ()}, "`units` must name at least one"),
        ({"strides": (0, 2)}, "`strides` must be 1 or above"),
        ({"sparsities": (1.0,)}, "`sparsities` must be in 0..1"),
        ({"quantizations": ("int3",)}, "int3"),
    ],
)
def test_a_space_that_can_t_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        SearchSpace(**changes)


def test_the_smallest_file_within_the_limits_and_the_tolerance_is_chosen():
    outcomes = [
        outcome("large", 0.99, 40),
        outcome("best", 0.98, 20),
        outcome("chosen", 0.975, 10),
        outcome("small", 0.90, 5),
        outcome("slow", 0.98, 4, us=200.0),
    ]
    budget = Budget(32.0, deadline_us=100.0)
    choice = choose(outcomes, budget, Goal(tolerance=0.01), ACCURACY)
    assert (choice.outcome.design.cell, choice.reached, choice.fitting) == ("chosen", True, 3)
    rejected = [Rejected("x", "33.0 KiB", False), Rejected("y", "worse", True)]
    explanation = Explanation(choice, outcomes, rejected, budget, ACCURACY, 0.97, decisions=100)
    text = " ".join(explanation.sentences())
    assert "Take chosen-8-dynamic-0 with 10.0 KiB" in text
    assert "97.0% on the test data (95% interval 91.5 to 99.0)" in text
    assert "Smaller, but not good enough: small-8-dynamic-0" in text
    assert "Better, but larger: best-8-dynamic-0" in text
    assert "Above a limit (40.0 KiB, allowed are 32): large-8-dynamic-0" in text
    assert "1 design was rejected before the training. 1 design was stopped" in text


def test_the_most_accurate_file_is_chosen_where_none_is_accurate_enough():
    outcomes = [outcome("a", 0.8, 5), outcome("b", 0.9, 20)]
    choice = choose(outcomes, Budget(32.0), Goal(min_accuracy=0.95), ACCURACY)
    assert (choice.outcome.design.cell, choice.reached) == ("b", False)
    explanation = Explanation(choice, outcomes, [], Budget(32.0), ACCURACY, 0.9, 50)
    text = " ".join(explanation.sentences())
    assert "No file within 32 KiB has accuracy 95.0% or better" in text
    with pytest.raises(ValueError, match="no trained file meets the limits; the nearest is a-8"):
        choose(outcomes, Budget(4.0), Goal(), ACCURACY)


def test_a_teacher_whose_own_file_meets_the_limits_and_is_better_is_named():
    best = outcome("a", 0.8, 5)
    choice = choose([best], Budget(32.0), Goal(), ACCURACY)
    explanation = Explanation(choice, [best], [], Budget(32.0), ACCURACY, 0.8)
    teacher = TeacherResult("big", "dynamic", outcome("b", 0.9, 20).cost, 0.9, 0.88)
    (sentence,) = teacher_sentences(teacher, explanation)
    assert "big by dynamic with 20.0 KiB, accuracy 90.0% on validation, 88.0%" in sentence
    assert not teacher_sentences(replace(teacher, validation_value=0.8), explanation)
    assert not teacher_sentences(replace(teacher, cost=outcome("b", 0.9, 40).cost), explanation)
    assert not teacher_sentences(None, explanation)


def test_of_an_error_less_is_better_and_the_tolerance_is_a_fraction_of_it():
    rows = [("best", 0.200, 20), ("chosen", 0.201, 10), ("small", 0.21, 5)]
    outcomes = [outcome(*row, metric=RMSE) for row in rows]
    choice = choose(outcomes, Budget(32.0), Goal(tolerance=0.01), RMSE)
    assert choice.outcome.design.cell == "chosen"
    text = " ".join(Explanation(choice, outcomes, [], Budget(32.0), RMSE, 0.205).sentences())
    assert "0.205 on the test data. It is the smallest of 3 files within 32 KiB" in text
    assert "has RMSE 0.202 or better" in text
    assert [o.design.cell for o in front(outcomes, Budget(32.0))] == ["small", "chosen", "best"]


def test_the_label_of_a_mean_is_that_of_its_last_frame(sequences):
    labelled = replace(sequences, y=np.arange(27).reshape(3, 9))
    assert frame_means(labelled, 4, per_frame=True).y.tolist() == [[3, 7], [12, 16], [21, 25]]


def test_the_front_has_what_nothing_beats_in_accuracy_size_and_time():
    rows = [("a", 0.9, 10, 50), ("b", 0.9, 12, 60), ("c", 0.8, 10, 30), ("d", 0.95, 20, 50)]
    rows.append(("e", 0.8, 10, 49))  # as fast as "a", within the scatter of measurements
    outcomes = [outcome(*row) for row in rows]
    assert [o.design.cell for o in front(outcomes, Budget(32.0))] == ["c", "a", "d"]
    line = pareto_front(outcomes, lambda o: o.cost.file_bytes, lambda o: o.score)
    assert [o.design.cell for o in line] == ["a", "d"]


def test_a_size_after_gzip_counts_where_it_is_asked_for():
    cost = outcome("a", 0.9, 10).cost
    assert cost.fits(Budget(6.0, compressed=True))
    assert not cost.fits(Budget(6.0))
    assert cost.misses(Budget(6.0, 5.0)) == "10.0 KiB, allowed are 6; 20 µs per step, allowed are 5"


def test_a_training_is_pruned_below_the_median_of_models_that_are_no_larger():
    def trial(loss, size):
        return SimpleNamespace(user_attrs={"curve": [loss, loss / 2], "parameters": size})

    small = [trial(loss, 100) for loss in (1.0, 2.0, 3.0)]
    assert should_prune([2.5], 100, small)
    assert not should_prune([1.5], 100, small)
    assert not should_prune([2.5], 90, small)  # smaller than all of them
    assert not should_prune([2.5], 100, small[:2])  # too few to say


@pytest.mark.parametrize(
    ("seeds", "unused"),
    [([], 0), ([0, 1], 2), ([1], 0), ([0, 2, 3], 1), ([None, None], 2), ([None, 2], 1)],
)
def test_a_seed_belongs_to_one_trial_at_a_time(seeds, unused):
    """Trials of older versions have no seed; it was the number of trials before."""
    attributes = [{} if seed is None else {SEED: seed} for seed in seeds]
    assert unused_seed([SimpleNamespace(user_attrs=a) for a in attributes]) == unused
