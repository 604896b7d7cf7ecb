"""The final models of a comparison: trained on all but the test data, and recommended."""

from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from kgated.compare import run
from kgated.compare.candidate_models import build, candidates
from kgated.compare.recommendation import Evidence, recommend
from kgated.compare.results import BaselineResult, CandidateResult, DeviceRun
from kgated.compare.significance import PairedDifference
from kgated.data import pad, save_npz
from kgated.study import fitting
from kgated.study.models import ModelOptions
from kgated.study.splits import load_parts
from kgated.study.tasks import flattened_sequences
from kgated.study.tasks.definitions import CLASSIFICATION, FRAMES, REGRESSION
from kgated.training import Plan

MODELS = candidates(["gru"], [4])
TASKS = {
    "classification": (CLASSIFICATION, lambda y, _: y),
    "frame-classification": (FRAMES, lambda y, t: np.repeat(y[:, None], t, axis=1)),
    "regression": (REGRESSION, lambda y, _: y + 0.25),
}


def written(path, targets, count=30, frames=5):
    """A data set of sequences around a place of their class."""
    rng, labels = np.random.default_rng(0), np.arange(count) % 2
    x = rng.normal(3.0 * labels[:, None, None], 0.4, (count, frames, 3)).astype(np.float32)
    save_npz(path, pad(list(x), targets(labels, frames)))
    return path


@pytest.mark.parametrize("name", TASKS)
def test_a_refit_trains_on_the_validation_data_and_for_all_epochs(name, tmp_path, monkeypatch):
    task, targets = TASKS[name]
    parts = load_parts(written(tmp_path / "data.npz", targets))
    assert parts.task is task
    model = build(MODELS[0], ModelOptions.of(parts))
    sequences = []

    class Counting(fitting.TimeLimit):
        def on_epoch_begin(self, epoch, logs=None):
            sequences.append(self.params["steps"])

    plan = Plan(epochs=3, patience=1, batch_size=1, learning_rate=1e-9)
    history = fitting.refit_model(model, parts, plan, [Counting(60.0)])
    assert sequences == [len(parts.train) + len(parts.validation)] * 3
    assert len(history["loss"]) == 3
    assert "val_loss" not in history


def test_a_training_ends_when_its_time_is_over(tmp_path):
    parts = load_parts(written(tmp_path / "data.npz", TASKS["classification"][1]))
    model = build(MODELS[0], ModelOptions.of(parts))
    limit = fitting.TimeLimit(seconds=0.0)
    plan = Plan(epochs=5, batch_size=8)
    history = fitting.fit_model(model, parts, plan, [limit])
    assert len(history["loss"]) == len(limit.times) == 1
    assert limit.out_of_time


@pytest.mark.slow
@pytest.mark.parametrize("refit", [True, False])
def test_the_seeds_are_refits_unless_refit_is_off(refit, tmp_path, monkeypatch):
    monkeypatch.setattr(flattened_sequences, "FRAMES", (None,))
    path = written(tmp_path / "data.npz", TASKS["classification"][1])
    options = run.CompareOptions(
        quantizations=("none",), trials=1, seeds=2, epochs=2, budget_minutes=30.0, refit=refit
    )
    console = Console(quiet=True)
    results = run.compare_candidates(path, tmp_path / "out", MODELS, options, console=console)
    (candidate,) = results.candidates
    assert [seed.seed for seed in candidate.runs] == [0, 1]
    assert [seed.val_loss is None for seed in candidate.runs] == [refit] * 2
    if refit:
        epochs = candidate.search_run.best_epoch
        assert [seed.epochs for seed in candidate.runs] == [epochs] * 2
        assert candidate.validated_run == candidate.search_run
    else:
        assert candidate.runs[0] == candidate.search_run
    changed = replace(options, refit=not refit)
    with pytest.raises(ValueError, match=f"refit {refit} became {not refit}"):
        run.compare_candidates(path, tmp_path / "out", MODELS, changed, console=console)


def result(name, accuracy, kib):
    """A candidate with one file."""
    fields = dict.fromkeys(CandidateResult.__dataclass_fields__)
    device = DeviceRun("dynamic", f"{name}.tflite", 1024 * kib, accuracy, {}, 3.0, 4.0, 0.1)
    fields |= {"name": name, "values": (accuracy,), "devices": (device,), "runs": (None,)}
    return CandidateResult(**fields | {"parameters": kib, "bidirectional": False})


@pytest.mark.parametrize(
    ("neighbour", "choice"), [(0.78, "small"), (0.80, "middle"), (0.81, "large"), (0.9, "small")]
)
def test_a_smaller_model_that_a_simple_one_beats_is_not_recommended(neighbour, choice):
    models = result("small", 0.79, 10), result("middle", 0.805, 20), result("large", 0.82, 30)
    noise = PairedDifference(0.02, -0.01, 0.05, only_first=5, only_second=3, sign_test_p=0.7)
    simple = BaselineResult("nearest neighbour", "of raw frames", neighbour, noise)
    pairs = {"small": noise, "middle": noise}
    evidence = Evidence(CLASSIFICATION.metric, models, models[2], pairs, (simple,))
    assert evidence.choice.name == choice
    text = " ".join(recommend(evidence))
    assert f"Take {choice}:" in text
    assert ("beat every simple model on the device" in text) == (choice == "middle")


@pytest.mark.parametrize(("units", "is_said"), [(3, True), (6, False)])
def test_the_recommendation_says_that_there_are_too_few_groups(units, is_said):
    models = result("small", 0.79, 10), result("large", 0.82, 30)
    pair = PairedDifference(0.03, 0.01, 0.05, 5, 3, 0.7, 0.02 if units >= 6 else None, units)
    simple = BaselineResult("nearest neighbour", "of raw frames", 0.5, pair)
    evidence = Evidence(CLASSIFICATION.metric, models, models[1], {"small": pair}, (simple,))
    text = " ".join(recommend(evidence))
    assert (f"The test data have {units} sequences or groups" in text) == is_said
    assert ("large is better than small beyond noise" in text) != is_said
