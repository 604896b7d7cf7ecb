"""`kgated compare` on small made-up data: the report, a kill in the middle, data that can't be."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from kgated.compare import candidate_study, run, training
from kgated.compare.candidate_models import Candidate, build, candidates
from kgated.compare.dynamics import steps_above
from kgated.data import pad, save_npz
from kgated.layers import CELLS
from kgated.study.models import ModelOptions, cell_layers, parameter_count
from kgated.study.splits import load_parts
from kgated.study.storage.queue import TrialQueue
from kgated.study.tasks import flattened_sequences
from kgated.study.tasks.definitions import CLASSIFICATION
from kgated_cli.app import app

OPTIONS = run.CompareOptions(
    quantizations=("none",), trials=2, seeds=1, epochs=2, budget_minutes=30.0
)
MODELS = candidates(["rnn", "gru"], [4])


def sequences(rng, count=30, classes=2, frames=(3, 7)):
    """Sequences around a place of their class."""
    y = np.arange(count) % classes
    rows = [rng.normal(3 * label, 0.4, (rng.integers(*frames), 3)) for label in y]
    return pad([row.astype(np.float32) for row in rows], y)


def saved(path, data, **changes):
    save_npz(path, replace(data, **changes))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return saved(folder / "small.npz", sequences(np.random.default_rng(0)))


class KilledError(BaseException):
    """Ends a process in the middle of a training."""


@pytest.fixture(scope="module")
def resumed(data, tmp_path_factory):
    """(folder, results, trainings) of a comparison that was killed in its second training."""
    folder, trainings = tmp_path_factory.mktemp("compare"), []
    train = candidate_study.CandidateStudy._train

    def counted(self, seed, values, limit, name):
        trainings.append((self.candidate.name, *values.values()))
        if len(trainings) == 2:
            raise KilledError
        return train(self, seed, values, limit, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidate_study.CandidateStudy, "_train", counted)
        patch.setattr(flattened_sequences, "FRAMES", (None,))
        console = Console(quiet=True)
        with pytest.raises(KilledError):
            run.compare_candidates(data, folder, MODELS, OPTIONS, console=console)
        results = run.compare_candidates(data, folder, MODELS, OPTIONS, console=console)
    return folder, results, trainings


def test_a_killed_comparison_continues_and_runs_no_trial_twice(resumed):
    _, results, trainings = resumed
    killed, again, *others = trainings[1:]
    assert again == killed  # with its own parameters
    assert len({trainings[0], again, *others}) == len(others) + 2 == 4
    assert [candidate.trials for candidate in results.candidates] == [2, 2]


def test_a_terminal_shows_the_trial_the_epoch_and_the_budget_left(data, tmp_path, monkeypatch):
    def train(self, seed, values, limit, name):
        limit.on_epoch_end(0, {"val_loss": 1.0})
        raise KilledError

    monkeypatch.setattr(candidate_study.CandidateStudy, "_train", train)
    queue, texts, budget = TrialQueue(tmp_path), [], training.Budget(600.0, 1, 1, 2)
    arguments = (queue, MODELS[0], load_parts(data), budget, tmp_path, print, texts.append)
    with pytest.raises(KilledError):
        candidate_study.CandidateStudy(*arguments).run()
    queue.close()
    assert texts == ["rnn-4: trial 1, epoch 1, 10.0 min of its budget left"]


def test_the_same_trials_again_train_nothing(resumed, data, monkeypatch):
    folder, results, _ = resumed
    for name in ("fit_model", "refit_model"):
        monkeypatch.setattr(training, name, lambda *_, **__: pytest.fail("it trained"))
    queue, parts = TrialQueue(folder), load_parts(data)
    budget = training.Budget(900.0, OPTIONS.trials, OPTIONS.seeds, OPTIONS.epochs)
    for model, result in zip(MODELS, results.candidates, strict=True):
        arguments = queue, model, parts, budget, folder / "models", print
        again = candidate_study.CandidateStudy(*arguments).run()
        assert again.runs == result.runs
    queue.close()


def test_two_processes_share_the_trials_and_a_torn_line_is_dropped(tmp_path):
    first, second = TrialQueue(tmp_path), TrialQueue(tmp_path)
    studies = [queue.study("search") for queue in (first, second)]
    a, b = first.take(studies[0], 3), second.take(studies[1], 3)
    rate = b.suggest_float("rate", 0.0, 1.0)
    assert {a.number, b.number} == {0, 1}
    second.close()  # as a kill does
    again = first.take(studies[0], 3)
    assert again.suggest_float("rate", 0.0, 1.0) == rate
    assert first.take(studies[0], 3) is not None
    assert first.take(studies[0], 3) is None  # of three, all under way
    assert first.wait(studies[0])
    first.close()
    with (tmp_path / "trials.journal").open("a") as file:
        file.write('{"op_code": 4, "tri')
    third = TrialQueue(tmp_path)
    assert len(third.study("search").trials) == 4
    assert third.take(third.study("search"), 3) is not None
    third.close()


def test_the_report_has_what_was_measured(resumed):
    folder, results, _ = resumed
    content = json.loads((folder / "compare.json").read_text())
    rows = list(csv.DictReader((folder / "compare.csv").read_text().splitlines()))
    page = (folder / "compare.html").read_text()
    assert [row["name"] for row in rows] == ["rnn-4", "gru-4"]
    for plain, candidate, row in zip(content["candidates"], results.candidates, rows, strict=True):
        (device,) = candidate.devices
        assert plain["value"] == candidate.value == float(row["test_mean"])
        assert device.value == candidate.value  # float32: as Keras decides
        assert device.file_bytes == (folder / "files" / device.file_name).stat().st_size
        assert device.step_us_p50 > 0.0
        assert device.real_time_factor < 1.0
        assert f"<td>{device.file_bytes / 1024:.1f}</td>" in page
        assert 0 <= candidate.gradient_steps < len(candidate.gradient_norms)
    rnn, gru = results.candidates
    assert rnn.parameters == 4 * (3 + 4 + 1) + 2 * (4 + 1)
    assert gru.parameter_ratio == pytest.approx((3 * 32 + 10) / 42)
    for sentence in results.recommendation:
        assert sentence[:20] in page
    assert page.count("<svg") == 5
    assert [[gate.name for gate in c.gates] for c in results.candidates] == [[], ["z", "r"]]
    assert all(0 < gate.mean < 1 for gate in gru.gates)


def test_the_baseline_and_the_seeds_are_in_the_recommendation(resumed):
    _, results, _ = resumed
    text = " ".join(results.recommendation)
    for simple in results.baselines:
        assert f"{simple.name} ({100 * simple.value:.1f}%)" in text
    assert [simple.name for simple in results.baselines] == ["linear baseline", "nearest neighbour"]
    assert "There is one seed" in text


def test_other_options_in_the_same_folder_are_refused(resumed, data):
    folder, _, _ = resumed
    changed = replace(OPTIONS, epochs=3)
    with pytest.raises(ValueError, match=r"other options \(epochs 2 became 3\): name another"):
        run.compare_candidates(data, folder, MODELS, changed)


def test_the_command_refuses_options_before_it_trains(data, tmp_path):
    for words, message in (
        (["--cells", "lstm,tree"], "'tree'"),
        (["--units", "0"], "--units must be whole numbers"),
        (["--quantize", "int3"], "int3"),
        (["--budget-minutes", "0"], "--budget-minutes must be above 0"),
    ):
        arguments = ["compare", str(data), "--out", str(tmp_path / "out"), *words]
        result = CliRunner().invoke(app, arguments)
        assert isinstance(result.exception, ValueError)
        assert message in str(result.exception)


def test_cells_are_those_of_the_library_and_a_plain_one():
    assert set(cell_layers()) == {"rnn", "peephole"} | {
        name.lower() for name in CELLS if name != "PeepholeLSTM"
    }
    assert cell_layers()["peephole"] is CELLS["PeepholeLSTM"]
    assert candidates(["PeepholeLSTM", "peephole"], [8], [2]) == (Candidate("peephole", 8, 2),)
    names = [candidate.name for candidate in candidates(["gru"], [4], bidirectional=True)]
    assert names == ["gru-4", "gru-4-bi"]


@pytest.mark.parametrize("cell", cell_layers())
@pytest.mark.parametrize("bidirectional", [False, True])
def test_every_cell_is_built_in_one_direction_and_in_both(cell, bidirectional, rng):
    frames = rng.normal(size=(20, 3)).astype(np.float32)
    candidate = Candidate(cell, 4, 2, bidirectional)
    model = build(candidate, ModelOptions(CLASSIFICATION, frames, 2))
    assert model.output_shape == (None, 2)


def test_a_bidirectional_candidate_has_twice_the_cells(rng):
    frames = rng.normal(size=(20, 3)).astype(np.float32)
    one_way, both = (
        parameter_count(
            build(Candidate("lstm", 4, 1, both), ModelOptions(CLASSIFICATION, frames, 2))
        )
        for both in (False, True)
    )
    assert both - 2 * one_way == -2  # the bias of the classes is there once


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": np.zeros(12, np.int64)}, "all sequences are of class '0'"),
        ({"y": np.repeat([0, 1], [10, 2])}, "class '1' has 2 sequences, and 4 are needed"),
        ({"y": np.zeros((12, 6), np.int64)}, "all frames are of class '0'"),
        ({"y": np.zeros((12, 6), np.float32)}, "target 0 of `y` is the same everywhere"),
        ({"y": np.full(12, np.nan)}, "`y` holds NaN or inf"),
        ({"y": np.zeros((12, 2), np.int64)}, "fits no task"),
        ({"y": None}, "there are no labels `y`"),
        ({"x": np.full((12, 6, 3), np.nan, np.float32)}, "NaN"),
        (
            {"x": np.linspace(-1e30, 1e30, 216, dtype=np.float32).reshape(12, 6, 3)},
            r"feature 0 \(from 0\) has values up to .* divide it by a constant",
        ),
        ({"y": np.repeat([0, 2], 6)}, "without gaps"),
        (
            {"x": np.zeros((12, 6), np.int32)},
            r"must be \(N, T, features\) frames, or \(N, T\) tokens",
        ),
    ],
)
def test_data_that_can_t_be_compared_on_are_refused(changes, message, rng, tmp_path):
    x = rng.normal(size=(12, 6, 3)).astype(np.float32)
    plain = pad(list(x), np.arange(12) % 2)
    with pytest.raises(ValueError, match=message) as caught:
        load_parts(saved(tmp_path / "bad.npz", plain, **changes))
    assert "\n" not in str(caught.value)
    assert "bad.npz" in str(caught.value)


def test_a_single_sequence_is_refused(rng, tmp_path):
    with pytest.raises(ValueError, match="all sequences are of class"):
        load_parts(saved(tmp_path / "single.npz", sequences(rng, 1)))


def test_a_class_that_the_test_data_lack_is_noted_and_an_unknown_class_refused(rng, tmp_path):
    train = saved(tmp_path / "train.npz", sequences(rng, 30, 3))
    lacking = load_parts(train, saved(tmp_path / "test.npz", sequences(rng, 8, 2)))
    assert lacking.notes == ("The test data have no sequence of class 2.",)
    with pytest.raises(ValueError, match=r"`y` has the classes 0\.\.3"):
        load_parts(train, saved(tmp_path / "more.npz", sequences(rng, 8, 4)))


def test_labels_that_are_texts_and_groups_are_taken(rng, tmp_path):
    plain = sequences(rng, 40)
    groups = np.array([f"p{n // 4}_{n}" for n in range(40)])
    names = np.array(["left", "right"])[plain.y]
    path = saved(tmp_path / "texts.npz", plain, y=names, groups=groups)
    parts = load_parts(path, group="(p[0-9]+)_")
    assert parts.labels == ("left", "right")
    people = [set(part.groups) for part in (parts.train, parts.validation, parts.test)]
    assert len(set.union(*people)) == sum(map(len, people)) == 10
    with pytest.raises(ValueError, match="regular expression with one group"):
        load_parts(path, group="p[0-9]+")
    with pytest.raises(ValueError, match="does not match 'p0_0'"):
        load_parts(path, group="(q[0-9]+)_")


@pytest.mark.slow
def test_lengths_of_one_run_and_constant_features_are_reported(rng, tmp_path, monkeypatch):
    monkeypatch.setattr(flattened_sequences, "FRAMES", (2,))
    data = sequences(rng, 30, frames=(1, 2))
    data.x[..., 1] = 7.0
    path = saved(tmp_path / "short.npz", data)
    options = replace(OPTIONS, trials=1, quantizations=("dynamic", "int8"))
    models = candidates(["gru"], [4], bidirectional=True)
    console = Console(file=io.StringIO(), width=120)
    results = run.compare_candidates(path, tmp_path / "out", models, options, console=console)
    assert "feature 1 (from 0)" in results.notes[0]
    for candidate in results.candidates:
        assert candidate.gradient_steps == 0
        assert [device.failure for device in candidate.devices] == [None, None]
        assert all(device.value is not None for device in candidate.devices)


def test_the_reach_of_the_gradient_ends_at_the_first_step_below():
    assert steps_above(np.array([1.0, 1.0, 1.0])) == 2
    assert steps_above(np.array([5.0, 1e-3, 0.5, 1.0])) == 1
    assert steps_above(np.array([1.0])) == 0
