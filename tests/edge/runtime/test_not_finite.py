"""A frame of finite but huge numbers makes the state NaN: it is found, and streams recover."""

import json
from pathlib import Path

import numpy as np
import pytest
from kgated_edge import (
    DataError,
    EdgeError,
    EdgeModel,
    EventSettings,
    EventStream,
    SessionPool,
    StateError,
    check,
    check_events,
    live,
)
from kgated_edge.events.scores import Prediction
from kgated_edge.ingest.finite_steps import FiniteSteps
from kgated_edge.ingest.input_counts import InputCounts
from kgated_edge.ingest.windows import WindowedModel
from kgated_edge.runtime.state_checks import are_finite

FIXTURES = Path(__file__).parents[1] / "fixtures"
HUGE = np.full(3, 1e30, np.float32)


def huge_frames_give_nan():
    """Whether the kernels of this processor make NaN of a huge frame, as those of x86-64 do."""
    return not np.isfinite(EdgeModel(FIXTURES / "speech.tflite").step(HUGE)).any()


needs_nan = pytest.mark.skipif(
    not huge_frames_give_nan(),
    reason="the kernels of this processor keep huge frames finite: the reset was NOT tested",
)


@needs_nan
def test_a_model_says_that_its_state_is_not_finite(speech, fixture_file, frames, tmp_path):
    model, integers = EdgeModel(speech), EdgeModel(fixture_file("int8"))
    model.step(frames[0])
    assert model.has_finite_state
    assert np.isnan(model.step(HUGE)).all()
    integers.step(HUGE)
    assert (model.has_finite_state, integers.has_finite_state) == (False, True)
    with pytest.raises(StateError, match=r"holds NaN or inf, .*: call reset\(\)"):
        model.save_state(tmp_path / "s.npz")
    assert not any(tmp_path.iterdir())
    model.reset()
    assert model.has_finite_state
    with pytest.raises(StateError, match="inside the interpreter"):
        _ = EdgeModel(fixture_file("inside")).has_finite_state


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_nan_is_found_in_every_type_of_real_numbers(dtype):
    largest = np.full(3, np.finfo(dtype).max, dtype)
    assert are_finite([largest, np.zeros(2, np.int8)])
    for value in (np.nan, np.inf):
        assert not are_finite([largest, np.array([1, value], dtype)])


def test_large_finite_states_are_finite(speech):
    model = EdgeModel(speech)
    model.state = {name: np.full_like(x, 3e38) for name, x in model.state.items()}
    assert model.has_finite_state


@needs_nan
def test_sessions_of_a_pool_recover_alone(speech, rng):
    frames = rng.normal(size=(300, 3)).astype(np.float32)
    pool, expected = SessionPool(speech), EdgeModel(speech)
    sessions = [pool.open() for _ in range(300)]
    pool.step(sessions, frames)
    assert pool.reset_not_finite(sessions) == []
    bad = frames.copy()
    bad[[7, 290]] = 1e30
    pool.step(sessions, bad)
    assert not sessions[7].has_finite_state
    assert pool.reset_not_finite(sessions[::-1]) == [9, 292]
    results = pool.step(sessions, frames)
    assert np.array_equal(results[7], expected.step(frames[7]))
    expected.reset()
    assert np.array_equal(results[8], [expected.step(frames[8]) for _ in range(3)][-1])
    with pytest.raises(EdgeError, match="list each once"):
        pool.reset_not_finite([sessions[0]] * 2)


@needs_nan
@pytest.mark.parametrize("name", ["speech", "inside"])
def test_live_resets_the_state_and_says_so_once(command, fixture_file, frames, tmp_path, name):
    path, report = fixture_file(name), tmp_path / "r.json"
    rows = np.concatenate([frames, [HUGE], frames, [HUGE], frames]).astype(np.float32)
    np.save(tmp_path / "f.npy", rows)
    monitor = tmp_path / "field.jsonl"
    arguments = ("--json", report, "--monitor", monitor)
    code, out, err = command("live", path, tmp_path / "f.npy", *arguments)
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert lines[8]["outputs"] == {"output": [None, None]}
    assert lines[8]["decision"] is None
    assert lines[8].get("label") is None
    assert lines[9]["outputs"] == lines[18]["outputs"] == lines[0]["outputs"]
    assert lines[9]["decision"] is not None
    assert err.count("warning: step 9: the model returned NaN or inf, after a frame with") == 1
    assert "numbers up to 1e+30" in err
    assert "steps not finite   2\n" in err
    assert json.loads(report.read_text())["not_finite_steps"] == 2
    (interval,) = map(json.loads, monitor.read_text().splitlines())
    assert interval["not_finite_steps"] == 2
    assert 0.5 <= interval["confidence_min"] <= interval["confidence_mean"] <= 1
    assert "kgated_not_finite_steps_total 2\n" in monitor.with_suffix(".prom").read_text()


def test_live_of_finite_frames_warns_of_nothing(speech, frames):
    warnings = []
    result = live(EdgeModel(speech), iter(frames), lambda line: None, warn=warnings.append)
    assert (result.not_finite_steps, warnings) == (0, [])


@needs_nan
def test_a_state_that_no_result_shows_is_found(speech, frames):
    model, counts, warnings = EdgeModel(speech), InputCounts(), []
    steps = FiniteSteps(model, counts, warnings.append)
    model.step(HUGE)
    for _ in range(255):
        steps.take(frames[0], np.zeros(2, np.float32))
    assert not model.has_finite_state
    steps.take(frames[0], np.zeros(2, np.float32))
    assert (model.has_finite_state, counts.not_finite_steps) == (True, 1)
    (warning,) = warnings
    assert warning.startswith("step 256: the state holds NaN or inf, after a frame of huge numbers")


def test_a_result_that_is_infinite_by_itself_keeps_the_state(speech, frames):
    model, counts, warnings = EdgeModel(speech), InputCounts(), []
    model.step(frames[0])
    before = model.state
    steps = FiniteSteps(model, counts, warnings.append)
    steps.take(frames[0], np.array([-np.inf, 0], np.float32))
    assert counts.not_finite_steps == 1
    assert "look for a layer whose results can be infinite" in warnings[0]
    assert "clip" not in warnings[0]
    assert all(np.array_equal(model.state[name], x) for name, x in before.items())


@needs_nan
def test_windows_recover_by_themselves(speech, frames):
    model, counts = WindowedModel(EdgeModel(speech), 4, 2), InputCounts()
    steps, results = FiniteSteps(model, counts), []
    for frame in [*frames[:2], HUGE, *frames[3:]]:
        results.append(model.step(frame))
        steps.take(frame, results[-1])
    expected = EdgeModel(speech)
    assert np.array_equal(results[-1], expected.run(frames[4:])[-1])
    assert counts.not_finite_steps == sum(r is not None and np.isnan(r).any() for r in results) > 0


def stream_of(speech, **settings):
    return EventStream(EdgeModel(speech), EventSettings(smoothing_s=0.0, **settings))


@needs_nan
def test_events_go_on_after_a_huge_frame(speech, frames, tmp_path):
    stream, model = stream_of(speech), EdgeModel(speech)
    stream.step(frames[0])
    stream.step(HUGE)
    assert (stream.not_finite_steps, stream.detector.steps) == (1, 2)
    stream.step(frames[1])
    model.step(frames[1])
    assert all(np.array_equal(stream.model.state[n], x) for n, x in model.state.items())
    stream.model.step(HUGE)  # a state that no score has shown yet
    stream.save_state(tmp_path / "s.npz")
    stream.load_state(tmp_path / "s.npz")


def test_events_save_no_prediction_that_is_not_finite(speech, frames, tmp_path):
    """The state of the model is finite; `load_state` refused the file."""
    stream = stream_of(speech)
    stream.step(frames[0])
    stream._prediction = Prediction()
    stream._prediction.last = np.array([np.inf, 0], np.float32)
    before = stream.model.state
    stream.save_state(tmp_path / "s.npz")
    stream.load_state(tmp_path / "s.npz")
    assert all(np.array_equal(stream.model.state[name], x) for name, x in before.items())


def test_events_of_internal_state_are_refused_before_a_reset(fixture_file, frames, tmp_path):
    model, again = (EdgeModel(fixture_file("inside")) for _ in range(2))
    stream = EventStream(model, sample_period_s=0.01)
    stream.step(frames[0])
    again.step(frames[0])
    with pytest.raises(StateError, match="inside the interpreter"):
        stream.save_state(tmp_path / "s.npz")
    assert np.array_equal(model.step(frames[1]), again.step(frames[1]))


@needs_nan
def test_the_command_events_goes_on(command, speech, frames, tmp_path):
    np.save(tmp_path / "f.npy", np.concatenate([frames, [HUGE], frames, [HUGE]]).astype("f"))
    arguments = ("--state", tmp_path / "s.npz", "--json", tmp_path / "r.json")
    for run in range(2):  # the second one continues from the state of the first
        code, _, err = command("events", speech, tmp_path / "f.npy", *arguments)
        result = json.loads((tmp_path / "r.json").read_text())
        assert (code, result["steps"], result["not_finite_steps"]) == (0, 18, 2), run
        assert err.count("warning: step 9: the model returned NaN or inf") == 1
        assert "steps not finite   2\n" in err


@needs_nan
def test_check_names_sequences_whose_results_are_not_finite(speech, rng):
    x = rng.normal(size=(6, 4, 3)).astype(np.float32)
    data = {"x": x, "y": np.array([0, 1] * 3)}
    x[2, 1] = 1e30
    for pool in (None, 3):
        warnings = check(speech, data, pool=pool).warnings
        assert any(
            "of 1 of 6 sequences hold NaN or inf, the first is sequence 2" in w for w in warnings
        )
    x[2, 1] = 1.0
    assert not any("NaN" in warning for warning in check(speech, data).warnings)


@needs_nan
def test_a_recording_that_makes_scores_nan_is_refused(speech, frames, tmp_path):
    np.save(tmp_path / "a.npy", np.concatenate([frames, [HUGE]]).astype(np.float32))
    labels = tmp_path / "labels.csv"
    labels.write_text("file,start,end,label\n")
    with pytest.raises(DataError, match=r"a\.npy: step 9: the model returned NaN or inf"):
        check_events(speech, tmp_path / "a.npy", labels)
