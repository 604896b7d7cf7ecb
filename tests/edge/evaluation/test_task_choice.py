"""Which task `check` takes for `y` and a model, and what it refuses to guess."""

from dataclasses import replace

import numpy as np
import pytest
from kgated_edge import DataError, EdgeError, SequenceData, check
from kgated_edge.evaluation.metrics import Classes, Frames, Numbers, Text
from kgated_edge.evaluation.multilabel import MultiLabel
from kgated_edge.evaluation.task_choice import OLD_NAMES, TASKS
from kgated_edge.evaluation.tasks import make_scorer
from kgated_edge.format.manifest import Golden
from kgated_edge.format.reader import read_manifest
from kgated_edge.format.tensor_spec import TensorSpec

N, T, C = 6, 9, 4
ONE_HOT = np.eye(C)[np.arange(N) % C]
FLAGS = np.array(
    [[1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0], [1, 0, 1, 0]]
)
SOFT = np.full((N, C), 0.25)
KINDS = {
    "softmax": np.full((3, C), 1 / C, np.float32),
    "sigmoid": np.full((3, C), 0.9, np.float32),
    "linear": np.full((3, C), -2.0, np.float32),
}


@pytest.fixture
def model(speech, fixture_file):
    """(kind of output, whether a sequence has one result, metrics) -> the manifest of a model."""

    def build(kind, single=False, figures=(), size=C):
        manifest = read_manifest(fixture_file("whole") if single else speech)
        output = TensorSpec(manifest.outputs[0].name, (size,), "float32")
        golden = Golden(manifest.golden.frames, {output.name: KINDS[kind][:, :size]}, 1.0)
        return replace(manifest, outputs=(output,), golden=golden, figures=dict(figures))

    return build


def scorer_of(manifest, y, task=None, frames=T):
    data = SequenceData(np.zeros((N, frames, 3), np.float32), np.full(N, frames), np.asarray(y))
    return make_scorer(manifest, data, task)


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize(
    ("kind", "y", "scorer"),
    [
        ("softmax", np.arange(N) % C, Classes),
        ("linear", np.arange(N) % C, Classes),
        ("softmax", ONE_HOT, Classes),
        ("softmax", SOFT, Classes),
        ("softmax", ONE_HOT.astype(int), Classes),
        ("sigmoid", FLAGS, MultiLabel),
        ("sigmoid", FLAGS.astype(float), MultiLabel),
        ("sigmoid", FLAGS.astype(bool), MultiLabel),
        ("linear", 7.5 * FLAGS, Numbers),
        ("linear", 7 * FLAGS, Numbers),
        ("softmax", SOFT + 0.1, Numbers),
    ],
)
def test_targets_of_sequences(model, kind, y, scorer, single):
    assert type(scorer_of(model(kind, single), y)) is scorer


@pytest.mark.parametrize(
    ("kind", "y", "scorer"),
    [
        ("softmax", np.ones((N, T), int), Frames),
        ("softmax", np.stack([ONE_HOT] * T, 1), Frames),
        ("sigmoid", np.stack([FLAGS] * T, 1), MultiLabel),
        ("linear", np.full((N, T, C), 3.5), Numbers),
    ],
)
def test_targets_of_frames(model, kind, y, scorer):
    assert type(scorer_of(model(kind), y)) is scorer


@pytest.mark.parametrize(
    ("kind", "y", "tasks"),
    [
        ("linear", ONE_HOT, ["classification", "multi-label", "regression"]),
        ("sigmoid", ONE_HOT, ["classification", "multi-label", "regression"]),
        ("linear", SOFT, ["classification", "regression"]),
        ("linear", FLAGS, ["multi-label", "regression"]),
    ],
)
def test_what_fits_several_tasks_is_refused_with_their_names(model, kind, y, tasks):
    names = " or ".join(f"`task='{task}'`" for task in tasks)
    with pytest.raises(DataError, match=f"fits several tasks: give {names}$"):
        scorer_of(model(kind), y)
    for task in tasks:
        scorer_of(model(kind), y, task)


def test_ambiguous_shapes_ask_for_the_task(model):
    y = np.arange(N * C).reshape(N, C) % C
    with pytest.raises(DataError, match="`task='frame-classification'` or `task='regression'`"):
        scorer_of(model("linear"), y, frames=C)
    assert type(scorer_of(model("linear", single=True), y, frames=C)) is Numbers


@pytest.mark.parametrize(
    ("metric", "scorer"), [("accuracy", Classes), ("f1_macro", MultiLabel), ("rmse", Numbers)]
)
def test_the_metrics_of_the_float_model_decide(model, metric, scorer):
    assert type(scorer_of(model("linear", figures={metric: 0.5}), ONE_HOT)) is scorer


def test_numbers_of_one_output(model):
    manifest = replace(model("linear", size=1), labels=None)
    for y in (np.arange(N), np.arange(N) / 7, np.zeros((N, 1)), np.zeros((N, T)), np.ones(N, int)):
        assert type(scorer_of(manifest, y)) is Numbers
    with pytest.raises(DataError, match=r"shapes \[\(6, 1\), \(6,\), \(6, 9, 1\), \(6, 9\)\]"):
        scorer_of(manifest, np.zeros((N, T - 1)))


def test_the_task_of_a_token_model_follows_its_targets(text, rng):
    x = rng.integers(5, size=(4, 8)).astype(np.int32)
    lengths = np.array([8, 5, 2, 1])
    manifest = read_manifest(text)

    def scorer(y):
        return make_scorer(manifest, SequenceData(x, lengths, y), None)

    assert type(scorer(np.roll(x, -1, axis=1))) is Text
    assert type(scorer(np.roll(x, 1, axis=1))) is Frames


@pytest.mark.parametrize("old", list(OLD_NAMES))
def test_older_task_names_are_accepted(speech, text, old):
    tokens = SequenceData(np.zeros((2, 4), np.int32), np.full(2, 4), np.ones((2, 4), int))
    frames = np.zeros((2, 4, 3), np.float32)
    y = {"classes": np.ones(2, int), "frames": np.ones((2, 4), int), "numbers": np.ones((2, 2))}
    data = tokens if old == "text" else SequenceData(frames, np.full(2, 4), y[old])
    model = text if old == "text" else speech
    named = [check(model, data, task=name).quality for name in (old, OLD_NAMES[old])]
    assert named[0] == named[1]
    assert named[0].task == OLD_NAMES[old] in TASKS


@pytest.mark.parametrize("task", ["guess", 3, ["classes"]])
def test_unknown_tasks(speech, task):
    data = SequenceData(np.zeros((2, 4, 3), np.float32), np.full(2, 4), np.zeros(2, int))
    with pytest.raises(EdgeError, match=r"`task` must be one of \['classification', .*got "):
        check(speech, data, task=task)


def test_labels_other_than_0_and_1_are_refused_for_multi_label(model):
    for y in (FLAGS * 2, FLAGS[:, :3], SOFT):
        with pytest.raises(DataError, match="0 or 1 for each label, for task 'multi-label'"):
            scorer_of(model("sigmoid"), y, "multi-label")
    with pytest.raises(DataError, match="the model has one output"):
        scorer_of(model("sigmoid", size=1), np.ones((N, 1)), "multi-label")
