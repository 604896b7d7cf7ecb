"""What `check` says of quality: each figure against its formula, on results of known outputs."""

import math

import numpy as np
import pytest
from kgated_edge import DataError, EdgeError, SequenceData, check
from kgated_edge.evaluation.metrics import Classes, Frames, Numbers, Text


def one_hot(decisions, classes=3):
    return np.eye(classes, dtype=np.float32)[np.asarray(decisions)]


def test_classes_over_frames_seen():
    scorer = Classes(np.array([0, 1, 2, 1]), 3, size=1)
    for n, decisions in enumerate([[1, 0, 0, 0], [1, 1], [0, 1, 0], [1, 0, 1, 1]]):
        scorer.add(n, one_hot(decisions))
    quality = scorer.quality()
    assert quality.accuracy == 3 / 4
    assert quality.confusion == ((1, 0, 0), (0, 2, 0), (1, 0, 0))
    # After 1, 2, 3 and 4 frames; the second sequence keeps its decision.
    assert quality.accuracy_over_frames == (2 / 4, 2 / 4, 3 / 4, 3 / 4)
    # Right for good from frame 2, 1 and 3 on; the wrong sequence does not count.
    assert (quality.settled_frames_p50, quality.settled_frames_p90) == (2, 3)


def test_settling_counts_frames_not_steps():
    scorer = Classes(np.array([1]), 3, size=4)
    scorer.add(0, one_hot([0, 1, 1]))
    assert scorer.quality().settled_frames_p50 == 8
    scorer = Classes(np.array([1]), 3, size=4)
    scorer.add(0, one_hot([0, 1, 0]))
    assert scorer.quality().settled_frames_p50 is None


def test_one_result_for_a_sequence_has_no_course(fixture_file, rng):
    x = rng.normal(size=(6, 9, 3)).astype(np.float32)
    data = SequenceData(x, np.full(6, 9), np.zeros(6, int))
    quality = check(fixture_file("whole"), data).quality
    assert sum(map(sum, quality.confusion)) == 6
    assert quality.accuracy_over_frames is None
    assert quality.settled_frames_p90 is None


def test_labels_of_frames():
    labels = np.array([[0, 1, 2, 9], [2, 2, 1, 1]])
    scorer = Frames(labels, 3, size=1)
    scorer.add(0, one_hot([0, 1, 0]))
    scorer.add(1, one_hot([2, 0, 1, 1]))
    quality = scorer.quality()
    assert quality.accuracy == 5 / 7
    assert quality.confusion == ((1, 0, 0), (0, 3, 0), (2, 0, 1))
    blocks = Frames(labels, 3, size=2)
    blocks.add(0, one_hot([1]))
    blocks.add(1, one_hot([2, 0]))
    assert blocks.quality().accuracy == 2 / 3


def test_numbers_against_the_formulas(rng):
    targets, results = rng.normal(size=(5, 7, 2)), rng.normal(size=(5, 7, 2))
    scorer = Numbers(targets, size=1)
    for n, result in enumerate(results):
        scorer.add(n, result)
    quality, error = scorer.quality(), (results - targets).reshape(-1, 2)
    spread = targets.reshape(-1, 2).var(0)
    assert quality.mae == pytest.approx(np.abs(error).mean(), rel=1e-12)
    assert quality.rmse == pytest.approx(math.sqrt((error**2).mean()), rel=1e-12)
    assert quality.r2 == pytest.approx((1 - (error**2).mean(0) / spread).mean(), rel=1e-9)


def test_a_perfect_and_a_mean_answer():
    targets = np.array([1.0, 2.0, 6.0])
    for guesses, r2 in (([1.0, 2.0, 6.0], 1.0), ([3.0, 3.0, 3.0], 0.0)):
        scorer = Numbers(targets, size=1)
        for n, guess in enumerate(guesses):
            scorer.add(n, np.array([[99.0], [guess]]))
        assert scorer.quality().r2 == pytest.approx(r2)
    flat = Numbers(np.ones(2), size=1)
    for n in range(2):
        flat.add(n, np.array([[0.5]]))
    assert flat.quality().r2 is None
    assert flat.quality().mae == 0.5


def test_bits_per_character():
    scorer = Text(np.array([[0, 1, 2]]), np.array([3]))
    scorer.add(0, np.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0, 0, 1.0], [1, 0, 0]]))
    assert scorer.quality().bits_per_character == pytest.approx((1 + 2 + 0) / 3)
    logits = Text(np.array([[0, 1, 2]]), np.array([3]))
    logits.add(0, np.log([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [1e-9, 1e-9, 1.0]]) + 7)
    assert logits.quality().bits_per_character == pytest.approx(1.0, abs=1e-6)


def test_a_language_model_from_its_own_text(text, oracle, rng):
    x, lengths = rng.integers(5, size=(4, 8)).astype(np.int32), np.array([8, 5, 2, 1])
    bits = [
        -np.log2(oracle(text, row[:length])[np.arange(length - 1), row[1:length]])
        for row, length in zip(x, lengths, strict=True)
        if length > 1
    ]
    expected = np.concatenate(bits).mean()
    quality = check(text, SequenceData(x, lengths), task="text").quality
    assert quality.bits_per_character == pytest.approx(expected, abs=1e-5)
    labelled = SequenceData(x, lengths, np.roll(x, -1, axis=1))
    assert check(text, labelled, task="text").quality.bits_per_character != pytest.approx(expected)


def test_numbers_of_a_model(speech, oracle, rng):
    x = rng.normal(size=(3, 6, 3)).astype(np.float32)
    exact = np.stack([oracle(speech, row) for row in x])
    lengths = np.array([6, 4, 1])
    y = exact + 0.25
    y[np.arange(6) >= lengths[:, None]] = np.nan  # padding counts for nothing
    quality = check(speech, SequenceData(x, lengths, y)).quality
    assert quality.task == "regression"
    assert quality.mae == pytest.approx(0.25, abs=1e-5)
    assert quality.rmse == pytest.approx(0.25, abs=1e-5)


@pytest.mark.parametrize(
    ("task", "y", "message"),
    [
        (
            "numbers",
            np.zeros((2, 4)),
            r"one of the shapes \[\(2, 2\), \(2, 4, 2\)\] to score 2 outputs",
        ),
        ("numbers", np.full((2, 4, 2), np.inf), "must be finite in real frames"),
        ("classes", np.zeros((2, 4), int), r"`y` must be \(2,\) integers"),
        ("frames", np.zeros(2, int), r"`y` must be \(2, 4\) integers"),
        ("classes", None, "no `y` for task 'classification'"),
        ("text", None, "models of one token per step"),
    ],
)
def test_data_without_the_targets_of_a_task(speech, task, y, message):
    data = SequenceData(np.zeros((2, 4, 3), np.float32), np.array([4, 4]), y)
    with pytest.raises(DataError, match=message):
        check(speech, data, task=task)


def test_a_task_nobody_knows(speech):
    data = SequenceData(np.zeros((2, 4, 3), np.float32), np.array([4, 4]))
    with pytest.raises(EdgeError, match="`task` must be one of"):
        check(speech, data, task="guess")
