"""`kgated search` on small made-up data: a kill in the middle, the report, bad input."""

import csv
import json
import time
from dataclasses import replace

import keras
import numpy as np
import pytest
from kgated_edge import EdgeModel
from kgated_edge.evaluation.dataset import SequenceData
from rich.console import Console
from typer.testing import CliRunner
from warm_processes import Program

from kgated.data import pad, save_npz
from kgated.search import run
from kgated.search.choice import Goal
from kgated.search.design.space import SearchSpace
from kgated.search.measurement.files import Budget
from kgated.search.options import SearchOptions
from kgated.search.trials import study, teacher
from kgated.search.trials.queue import SearchQueue
from kgated.search.trials.study import Effort
from kgated.search.trials.teacher import Teacher
from kgated.study.splits import load_parts
from kgated.study.tasks import flattened_sequences
from kgated_cli.app import app

SPACE = SearchSpace(("gru",), (3, 4), (1,), (1, 2, 8), (1,), quantizations=("none",))
OPTIONS = SearchOptions(Budget(64.0, 1e6), SPACE, Effort(trials=2, epochs=2), Goal(tolerance=0.5))


def sequences(rng, count=30, classes=2):
    """Sequences around a place of their class, of 3 to 6 frames."""
    y = np.arange(count) % classes
    rows = [rng.normal(3 * label, 0.4, (rng.integers(3, 7), 3)) for label in y]
    return pad([row.astype(np.float32) for row in rows], y)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "small.npz"
    save_npz(path, sequences(np.random.default_rng(0)))
    return path


class KilledError(BaseException):
    """Ends a process in the middle of a training."""


@pytest.fixture(scope="module")
def resumed(data, tmp_path_factory):
    """(folder, results, trainings) of a search that was killed in its second training."""
    folder, trainings = tmp_path_factory.mktemp("search"), []
    train = study.SearchStudy._train

    def counted(self, model, design, training, stopping, seed):
        trainings.append((design, training))
        if len(trainings) == 2:
            raise KilledError
        train(self, model, design, training, stopping, seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study.SearchStudy, "_train", counted)
        patch.setattr(flattened_sequences, "FRAMES", (None,))
        console = Console(quiet=True)
        with pytest.raises(KilledError):
            run.search_models(data, folder, OPTIONS, console=console)
        results = run.search_models(data, folder, OPTIONS, console=console)
    return folder, results, trainings


def test_a_killed_search_continues_with_the_same_trial_and_runs_none_twice(resumed):
    _, results, trainings = resumed
    first, killed, again = trainings
    assert again == killed != first
    assert [(o.design, o.training) for o in results.outcomes] == [first, killed]


def test_the_chosen_file_and_model_are_those_of_the_report(resumed):
    folder, results, _ = resumed
    file = folder / "chosen.tflite"
    assert file.stat().st_size == results.chosen.cost.file_bytes
    model, edge = keras.saving.load_model(folder / "chosen.keras"), EdgeModel(file)
    size = edge.manifest.frames_per_step
    frames = np.linspace(-1.0, 1.0, 12, dtype=np.float32).reshape(4, 3)
    blocks = frames if size == 1 else frames.reshape(-1, size, 3)
    outputs = [edge.step(block) for block in blocks]
    expected = model.predict(frames[None], verbose=0)[0]
    np.testing.assert_allclose(outputs[-1], expected, atol=1e-5)
    assert results.chosen.cost.fits(OPTIONS.budget)


def test_json_csv_and_page_have_the_front_and_the_sentences(resumed):
    folder, results, _ = resumed
    content = json.loads((folder / "search.json").read_text())
    rows = list(csv.DictReader((folder / "search.csv").read_text().splitlines()))
    page = (folder / "search.html").read_text()
    assert [row["name"] for row in rows] == [outcome.name for outcome in results.outcomes]
    assert content["chosen"] == results.chosen.name
    assert content["front"] == [outcome.name for outcome in results.front]
    for name in (*content["front"], content["chosen"]):
        row = next(row for row in rows if row["name"] == name)
        assert float(row["test_accuracy"]) == results.test_values[name]
    assert results.sentences[0].startswith(f"Take {results.chosen.name} with ")
    assert page.count("<svg") == 2
    for sentence in results.sentences:
        assert sentence in page
    assert "linear baseline" in page.lower()


def test_other_data_or_limits_in_the_same_folder_are_refused(resumed, tmp_path, rng):
    folder, _, _ = resumed
    save_npz(tmp_path / "other.npz", sequences(rng, 32))
    with pytest.raises(ValueError, match=r"holds another search .* \(data .* name another"):
        run.search_models(tmp_path / "other.npz", folder, OPTIONS)


def test_strides_beyond_the_shortest_sequence_are_left_out(data, resumed):
    assert not any(o.design.stride == 8 for o in resumed[1].outcomes)
    options = replace(OPTIONS, space=replace(SPACE, strides=(8,)))
    with pytest.raises(ValueError, match="`strides` must be at most 3"):
        run.search_models(data, "unused", options)


def test_limits_that_no_design_meets_are_refused_before_the_training(data, tmp_path, monkeypatch):
    monkeypatch.setattr(study, "fit_model", lambda *_, **__: pytest.fail("it trained"))
    options = replace(OPTIONS, budget=Budget(1.0))
    with pytest.raises(ValueError, match=r"no design meets .* gru-3-none: .* allowed are 1$"):
        run.search_models(data, tmp_path, options, console=Console(quiet=True))
    monkeypatch.setattr(run, "SearchStudy", reached)
    with pytest.raises(ReachedError):  # the same folder takes other limits
        run.search_models(data, tmp_path, OPTIONS, console=Console(quiet=True))


class ReachedError(Exception):
    """The trials would begin now."""


def reached(*_):
    raise ReachedError


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max-kib", "0"], "--max-kib must be above 0"),
        (["--max-kib", "8", "--budget-minutes", "0"], "--budget-minutes must be above 0"),
        (["--max-kib", "8", "--deadline-us", "-1"], "--deadline-us must be above 0"),
        (["--max-kib", "8", "--device", "a b"], "--device must be `local` or a host"),
        (["--max-kib", "8", "--teacher", "no.keras"], "There is no file no.keras"),
        (["--max-kib", "8", "--cells", "tree"], "'tree'"),
        (["--max-kib", "8", "--sparsities", "x"], "--sparsities must be numbers"),
        (
            ["--max-kib", "8", "--min-accuracy", "98"],
            "`min_accuracy` must be above 0 and at most 1",
        ),
        (["--max-kib", "8", "--soft-weight", "2"], "`soft_weight` must be in 0..1"),
    ],
)
def test_the_command_refuses_options_in_a_sentence(words, message, data, tmp_path):
    arguments = ["search", str(data), "--out", str(tmp_path / "out"), *words]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, ValueError)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": np.full((12, 6, 3), np.nan, np.float32)}, "NaN"),
        ({"y": np.zeros(12, np.int64)}, "all sequences are of class '0'"),
    ],
)
def test_data_that_can_t_be_searched_on_are_refused(changes, message, rng, tmp_path):
    plain = pad(list(rng.normal(size=(12, 6, 3)).astype(np.float32)), np.arange(12) % 2)
    save_npz(tmp_path / "bad.npz", replace(plain, **changes))
    with pytest.raises(ValueError, match=message):
        run.search_models(tmp_path / "bad.npz", tmp_path / "out", OPTIONS)


def test_a_teacher_of_other_data_is_refused(data):
    parts = load_parts(data)
    layers = keras.layers
    wider = keras.Sequential([keras.Input((None, 3)), layers.GRU(2), layers.Dense(5, "softmax")])
    with pytest.raises(ValueError, match="probabilities of the 2 classes"):
        Teacher.of(wider, parts, 3.0, 0.5)
    frames = keras.Sequential([keras.Input((None, 7)), layers.GRU(2), layers.Dense(2, "softmax")])
    with pytest.raises(ValueError, match="--teacher can't be run on the data"):
        Teacher.of(frames, parts, 3.0, 0.5)


def test_two_processes_share_the_trials_and_rejected_designs_do_not_count(tmp_path):
    first, second = SearchQueue(tmp_path), SearchQueue(tmp_path)
    studies = [queue.search() for queue in (first, second)]
    a, b = first.next(studies[0], 2), second.next(studies[1], 2)
    assert {a.number, b.number} == {0, 1}
    assert first.next(studies[0], 2) is None
    a.set_user_attr("reason", "too large")
    studies[0].tell(a, state=first.optuna.trial.TrialState.PRUNED)
    assert first.next(studies[0], 2) is not None
    width = b.suggest_int("units_index", 0, 5)
    second.close()  # as a kill does
    assert first.wait(studies[0])  # the trial has to be taken again
    again = first.next(studies[0], 2)
    assert again.suggest_int("units_index", 0, 5) == width
    first.close()


def test_the_trial_of_a_killed_process_is_not_waited_for_when_the_time_is_over(tmp_path):
    first, second = SearchQueue(tmp_path), SearchQueue(tmp_path)
    study = first.search()
    second.next(second.search(), 2)
    second.close()
    assert first.wait(study)
    assert not first.wait(study)
    first.close()


@pytest.mark.parametrize(
    ("changes", "words", "message"),
    [
        ({"y": np.linspace(0, 1, 12)}, {"teacher": "auto"}, "--teacher is for one class per seq"),
        ({"y": np.linspace(0, 1, 12)}, {"goal": Goal(0.9)}, "--min-accuracy is for classes"),
    ],
)
def test_options_that_a_task_has_no_use_for_are_refused(changes, words, message, rng, tmp_path):
    plain = pad(list(rng.normal(size=(12, 6, 3)).astype(np.float32)), np.arange(12) % 2)
    save_npz(tmp_path / "numbers.npz", replace(plain, **changes))
    with pytest.raises(ValueError, match=message):
        run.search_models(tmp_path / "numbers.npz", tmp_path / "out", replace(OPTIONS, **words))


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["rmse", "accuracy", "bits_per_character"])
def test_numbers_labels_per_frame_and_tokens_are_searched_too(metric, rng, tmp_path):
    x = rng.normal(size=(24, 8, 3)).astype(np.float32)
    sums = np.cumsum(x.sum(axis=-1), axis=1)
    data = {
        "rmse": pad(list(x), sums[:, -1]),
        "accuracy": pad(list(x), (sums > 0).astype(np.int64)),
        "bits_per_character": SequenceData(np.arange(192).reshape(24, 8) % 5, np.full(24, 8)),
    }[metric]
    save_npz(tmp_path / "data.npz", data)
    strides = (1,) if metric == "bits_per_character" else (2,)
    space = replace(SPACE, strides=strides, quantizations=("dynamic",))
    options = replace(OPTIONS, space=space, effort=Effort(trials=1, epochs=2))
    results = run.search_models(tmp_path / "data.npz", tmp_path, options, console=Console())
    assert results.metric.name == metric
    assert results.test_values[results.chosen.name] > 0.0
    assert (tmp_path / "chosen.tflite").is_file()


@pytest.mark.slow
def test_a_pruned_model_learns_from_a_teacher_of_the_command(data, tmp_path, monkeypatch):
    monkeypatch.setattr(teacher, "UNITS", 4)
    monkeypatch.setattr(flattened_sequences, "FRAMES", (None,))
    words = ["search", str(data), "--max-kib", "64", "--cells", "gru", "--units", "3"]
    words += ["--layers", "1", "--strides", "1", "--ranks", "1", "--quantize", "dynamic"]
    words += ["--trials", "1", "--epochs", "2", "--sparsities", "0.5", "--teacher", "auto"]
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "out" / "search.json").read_text())
    assert content["reference"]["name"].split("-")[0] in teacher.CELLS
    model = keras.saving.load_model(tmp_path / "out" / "chosen.keras")
    kernels = [w for w in model.weights if w.path.endswith("kernel") and "recurrent_1" in w.path]
    for kernel in map(keras.ops.convert_to_numpy, kernels):
        assert (kernel == 0).mean() == pytest.approx(0.5, abs=0.05)


@pytest.mark.slow
def test_two_processes_lose_no_trial_and_run_none_twice_when_one_is_killed(data, tmp_path):
    """With a journal file; on PostgreSQL it is a comparison, in `tests/study`."""
    out = tmp_path / "out"
    out.mkdir()
    words = ["search", str(data), "--max-kib", "64", "--cells", "gru", "--units", "3,4"]
    words += ["--layers", "1", "--strides", "1", "--ranks", "1", "--quantize", "none"]
    words += ["--trials", "3", "--epochs", "1", "--tolerance", "100", "--out", str(out)]
    killed, survivor = (Program("-m", "kgated", *words) for _ in range(2))
    deadline, queue = time.monotonic() + 300, SearchQueue(out)
    while not any(trial.params for trial in queue.search().get_trials(deepcopy=False)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    queue.close()
    killed.kill()
    killed.wait()
    done = survivor.wait()
    assert done.returncode == 0, done
    rows = list(csv.DictReader((out / "search.csv").read_text().splitlines()))
    assert len(rows) == 3
    assert len({(row["units"], row["learning_rate"], row["dropout"]) for row in rows}) == 3
    assert len(list((out / "models").glob("*.keras"))) == 3
