"""Each task of `kgated compare`: chosen by the data, scored as the device runner scores it."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from kgated_edge.evaluation.dataset import SequenceData

from kgated.compare import measurement
from kgated.compare.candidate_models import Candidate, build
from kgated.compare.dynamics import gradient_reach
from kgated.compare.measurement import StudyPaths, on_device, scores_of
from kgated.data import is_real, pad, real_frames, save_npz
from kgated.errors import ConversionError
from kgated.study.chunks import in_chunks
from kgated.study.fitting import fit_model
from kgated.study.models import ModelOptions
from kgated.study.splits import load_parts
from kgated.study.tasks import flattened_sequences
from kgated.study.tasks.definitions import (
    CLASSIFICATION,
    FRAME_REGRESSION,
    FRAMES,
    NEXT_TOKEN,
    REGRESSION,
    choose_task,
)
from kgated.study.tasks.metrics import ACCURACY, BITS, RMSE
from kgated.training import Plan


def recordings(seed=0, count=24):
    """Sequences of 4 to 9 frames of 3 features."""
    rng = np.random.default_rng(seed)
    return pad([rng.normal(size=(rng.integers(4, 10), 3)).astype(np.float32) for _ in range(count)])


def examples():
    """A small data set for each task."""
    data = recordings()
    real = is_real(data.lengths, data.x.shape[1])
    sums = np.cumsum(np.where(real, data.x[..., 0], 0), axis=1, dtype=np.float32)
    totals = sums[:, -1]
    tokens = (np.arange(24 * 9).reshape(24, 9) ** 2 % 7).astype(np.int32)
    return {
        CLASSIFICATION: replace(data, y=(totals > 0).astype(np.int64)),
        FRAMES: replace(data, y=(sums > 0).astype(np.int64)),
        REGRESSION: replace(data, y=np.stack([totals, 50 - 3 * totals], axis=1)),
        FRAME_REGRESSION: replace(data, y=np.where(real, 20 + sums, np.nan).astype(np.float32)),
        NEXT_TOKEN: SequenceData(tokens, np.arange(24) % 5 + 5),
    }


EXAMPLES = examples()


@pytest.mark.parametrize("task", EXAMPLES, ids=lambda task: f"{task.name}-{task.per_frame}")
def test_the_data_choose_their_task_and_a_name_must_fit(task):
    data = EXAMPLES[task]
    assert choose_task(data, None, "x.npz") is task
    assert choose_task(data, task.name, "x.npz") is task
    wrong = "regression" if task.takes_tokens else "next-token"
    with pytest.raises(ValueError, match=r"x\.npz"):
        choose_task(data, wrong, "x.npz")


def test_whole_numbers_are_classes_unless_regression_is_named():
    data = replace(EXAMPLES[CLASSIFICATION], y=np.arange(24) % 2)
    floats = replace(data, y=data.y.astype(np.float32))
    assert choose_task(floats, None, "") is CLASSIFICATION
    assert choose_task(replace(floats, y=floats.y + 7), None, "") is REGRESSION
    assert choose_task(data, "regression", "") is REGRESSION
    with pytest.raises(ValueError, match="--task must be one of"):
        choose_task(data, "clustering", "")


@pytest.mark.slow
@pytest.mark.parametrize("task", EXAMPLES, ids=lambda task: f"{task.name}-{task.per_frame}")
def test_a_trained_model_scores_on_the_runner_as_in_keras(task, tmp_path):
    path = tmp_path / "data.npz"
    save_npz(path, EXAMPLES[task])
    parts = load_parts(path)
    assert parts.task is task
    model = build(Candidate("gru", 4), ModelOptions.of(parts))
    before = scores_of(model, task, parts.test).value(task.metric)
    history = fit_model(model, parts, Plan(epochs=3, learning_rate=0.02, seed=0), [])
    assert history["val_loss"][-1] < history["val_loss"][0]
    value = scores_of(model, task, parts.test).value(task.metric)
    if task.is_regression:  # the scale of the targets is part of the model
        assert value < 0.8 * before
    save_npz(tmp_path / "test.npz", parts.test)
    device = on_device(
        model, "none", parts, 0.01, StudyPaths(tmp_path, tmp_path, tmp_path / "test.npz")
    )
    assert device.value == pytest.approx(value, rel=1e-4)
    norms = gradient_reach(model, task, parts.test)
    assert norms[-1] == 1.0
    assert all(np.isfinite(norms))


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("to_tflite", ConversionError("no kernel")),
        ("to_tflite", ValueError("no kernel")),
        ("to_tflite", RuntimeError("no\nkernel")),
        ("run_check", RuntimeError("no kernel")),
    ],
)
def test_a_recipe_that_fails_is_a_row_with_the_reason(name, error, monkeypatch, tmp_path):
    def fail(*_, **__):
        raise error

    save_npz(tmp_path / "data.npz", EXAMPLES[CLASSIFICATION])
    parts = load_parts(tmp_path / "data.npz")
    model = build(Candidate("gru", 4), ModelOptions.of(parts))
    converted = SimpleNamespace(file_bytes=1234)
    monkeypatch.setattr(measurement, "to_tflite", lambda *_, **__: converted)
    monkeypatch.setattr(measurement, name, fail)
    places = StudyPaths(tmp_path, tmp_path, tmp_path / "test.npz")
    row = on_device(model, "int8", parts, 0.01, places)
    assert (row.quantize, row.failure, row.value) == ("int8", "no kernel", None)
    assert row.file_bytes == (None if name == "to_tflite" else 1234)


def test_the_linear_baselines_find_what_is_linear(monkeypatch, tmp_path):
    monkeypatch.setattr(flattened_sequences, "FRAMES", (2,))
    data = recordings(count=60)
    real = is_real(data.lengths, data.x.shape[1])
    rows = data.x @ np.array([[1.0], [2.0], [-1.0]], np.float32)
    first = np.stack([x[0] for x in rows])
    for y, metric in (
        (np.where(real, rows[..., 0], 0), 0.05),
        (rows, 0.05),
        (first, 0.05),
        ((rows[..., 0] > 0).astype(np.int64), 0.9),
    ):
        save_npz(tmp_path / "linear.npz", replace(data, y=y))
        parts = load_parts(tmp_path / "linear.npz")
        task = parts.task
        linear, nearest = (
            task.score(simple.outputs, parts.test).value(task.metric)
            for simple in task.baselines(parts.development, parts.test, parts.outputs)
        )
        assert task.metric.gain(linear, metric) > 0
        assert task.metric.gain(linear, nearest) > 0


def test_bigrams_predict_a_cycle_and_uniform_tokens_cost_their_entropy(tmp_path):
    rng = np.random.default_rng(0)
    for tokens, expected in ((np.arange(4000) % 8, 0.01), (rng.integers(0, 8, 4000), 3.0)):
        save_npz(
            tmp_path / "t.npz",
            SequenceData(tokens.reshape(40, 100).astype(np.int32), np.full(40, 100)),
        )
        parts = load_parts(tmp_path / "t.npz")
        (bigrams,) = parts.task.baselines(parts.development, parts.test, parts.outputs)
        bits = parts.task.score(bigrams.outputs, parts.test).value(parts.task.metric)
        assert bits == pytest.approx(expected, abs=0.05)


def test_one_recording_is_split_in_time_and_long_ones_are_cut(tmp_path):
    tokens = np.arange(1000)[None] % 11
    save_npz(tmp_path / "text.npz", SequenceData(tokens.astype(np.int32), np.array([1000])))
    parts = load_parts(tmp_path / "text.npz")
    tokens_of_parts = np.concatenate(
        [real_frames(part) for part in (parts.train, parts.validation, parts.test)]
    )
    assert tokens_of_parts.tolist() == tokens[0].tolist()
    assert len(parts.test) == 2
    assert parts.outputs == 11
    chunks = in_chunks(FRAMES, replace(EXAMPLES[FRAMES]), 4)
    assert chunks.lengths.max() == 4
    assert chunks.lengths.sum() == EXAMPLES[FRAMES].lengths.sum()
    assert len(np.unique(chunks.groups)) == 24
    y = np.concatenate([y[:n] for y, n in zip(chunks.y, chunks.lengths, strict=True)])
    real = is_real(EXAMPLES[FRAMES].lengths, EXAMPLES[FRAMES].x.shape[1])
    assert (y == EXAMPLES[FRAMES].y[real]).all()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (SequenceData(np.ones((1, 90), np.int32), np.array([90])), "all tokens are the same"),
        (SequenceData(np.array([[1, 2, 1]], np.int32), np.array([3])), "can't be split"),
        (SequenceData(np.array([[-1, 2]], np.int32), np.array([2])), "0 or above"),
        (SequenceData(np.array([[1], [2]], np.int32), np.array([1, 1])), "no sequence has two"),
        (replace(recordings(count=1), y=np.ones((1, 2), np.float32)), "same everywhere"),
        (replace(recordings(count=2), y=np.array([1.0, 2.5], np.float32)), "can't be split"),
    ],
)
def test_too_little_to_learn_from_is_refused_in_a_line(data, message, tmp_path):
    save_npz(tmp_path / "bad.npz", data)
    with pytest.raises(ValueError, match=message) as caught:
        load_parts(tmp_path / "bad.npz")
    assert "bad.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_labels_of_frames_in_a_class_that_only_the_end_has_are_refused(tmp_path):
    data = recordings(count=1)
    x = np.repeat(data.x, 30, axis=1)
    y = (np.arange(x.shape[1]) > 0.9 * x.shape[1]).astype(np.int64)[None]
    save_npz(tmp_path / "late.npz", SequenceData(x, np.array([x.shape[1]]), y))
    with pytest.raises(ValueError, match="class 1 is only in the last frames"):
        load_parts(tmp_path / "late.npz")


def test_the_title_of_a_metric_is_not_written_twice():
    values = (0.5, ACCURACY), (1.6, BITS), (0.25, RMSE)
    assert [metric.named(value) for value, metric in values] == [
        "accuracy 50.0%",
        "1.6 bits per token",
        "RMSE 0.25",
    ]
    assert [metric.cell(value) for value, metric in values] == ["50.0%", "1.6", "0.25"]
