"""A model on a schedule: what is run, what is reported, what ends the run."""

import json
import os
import signal
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from kgated_edge import DataError, EdgeError, EdgeModel, Plan, realtime
from kgated_edge.loadtest.runner import step_all
from kgated_edge.loadtest.scheduler import Clock

MS = 1_000_000
MODULE = import_module("kgated_edge.loadtest.runner")


def clock_of(fake):
    return Clock(fake.now, fake.sleep)


def test_every_metric_of_a_run_on_a_known_clock(speech, npz, fake_clock):
    fake = fake_clock(oversleep=MS)
    result = realtime(speech, npz, Plan(seconds=2, deadline_ms=5), clock_of(fake))
    assert (result.period_ms, result.deadline_ms) == (10.0, 5.0)
    assert (result.steps, result.steps_run, result.streams) == (200, 200, 1)
    assert (result.deadline_misses, result.worst_lateness_us) == (0, 0.0)
    # The clock moves by 1 us when looked at, and sleeps 1 ms too long, of which 0.2 are spare.
    assert result.compute.p50_us == result.compute.max_us == 1.0
    assert result.start_delay.p99_us == pytest.approx(800, abs=5)
    assert result.completion.p99_9_us == pytest.approx(801, abs=5)
    assert result.real_time_factor == pytest.approx(1e-4)
    assert result.duration_s == pytest.approx(1.992, abs=0.002)
    assert sum(result.compute.histogram.counts) == 200
    assert result.passed
    assert not result.interrupted


def test_misses_fail_by_how_many_are_allowed(speech, npz, fake_clock):
    plan = Plan(seconds=1, deadline_ms=0.5)
    result = realtime(speech, npz, plan, clock_of(fake_clock(oversleep=MS)))
    assert result.deadline_misses == 100
    assert result.worst_lateness_us == pytest.approx(301, abs=5)
    assert result.failures == ("100 of 100 steps missed their deadline of 0.5 ms, allowed are 0",)
    allowed = replace(plan, max_misses=100)
    assert realtime(speech, npz, allowed, clock_of(fake_clock(oversleep=MS))).passed


def test_steps_given_up_are_misses(speech, npz, fake_clock):
    # A look at the clock takes 4 ms, and each frame has 1.
    plan = Plan(seconds=0.1, period_ms=1)
    result = realtime(speech, npz, plan, clock_of(fake_clock(tick=4 * MS)))
    assert 1 <= result.steps_run < 50
    assert result.deadline_misses == result.steps == 100


def test_every_stream_gets_every_frame_in_order(speech, rng):
    frames = rng.normal(size=(5, 3)).astype(np.float32)
    model = EdgeModel(speech)
    models = [model, model.clone(), model.clone()]
    run = step_all(models, list(frames))
    for n in range(12):
        run(n)
    separate = model.clone()
    separate.run(np.concatenate([frames, frames, frames[:2]]))
    for stream in models:
        assert all(np.array_equal(stream.state[name], a) for name, a in separate.state.items())


def test_auto_runs_as_many_streams_as_meet_their_deadlines(speech, npz, fake_clock):
    # 1 us a look, whatever the number of streams: a limit on the trials ends the search.
    fake = fake_clock()
    fake.trials = 0

    def sleep(seconds):
        fake.sleep(seconds)
        fake.trials += 1
        fake.oversleep = 20 * MS if fake.trials > 300 else 0

    plan = Plan(streams=None, seconds=0.05)
    result = realtime(speech, npz, plan, Clock(fake.now, sleep))
    # 100 rounds a trial: 1, 2 and 4 streams hold, then nothing does.
    assert result.streams == 4
    assert realtime(speech, npz, replace(plan, streams=3), clock_of(fake_clock())).streams == 3


@pytest.mark.parametrize("name", ["speech", "text", "blocks"])
def test_streams_of_a_pool(fixture_file, tmp_path, rng, command, name):
    data = {
        "speech": {"x": rng.normal(size=(2, 4, 3)).astype(np.float32)},
        "text": {"x": rng.integers(5, size=(2, 4)).astype(np.int32)},
        "blocks": {
            "sound": rng.normal(size=(2, 4, 3)).astype(np.float32),
            "word": rng.integers(5, size=(2, 4)).astype(np.int32),
        },
    }
    np.savez(tmp_path / "x.npz", **data[name])
    options = ("--data", tmp_path / "x.npz", "--period-ms", 5, "--seconds", 0.1, "--pool")
    report = tmp_path / "r.json"
    options = (*options, "--streams", 40, "--max-misses", 20, "--json", report)
    code, out, _ = command("realtime", fixture_file(name), *options)
    assert code == 0
    assert "streams / threads / load       40 (in a pool) / 1 / 0\n" in out
    assert (json.loads(report.read_text())["pool"]) is True


def test_data_and_models_that_do_not_fit(speech, text, fixture_file, npz):
    with pytest.raises(DataError, match=r"data.npz: .* do not fit the model"):
        realtime(text, npz, Plan(period_ms=1))
    with pytest.raises(EdgeError, match="its mode is 'sequence'"):
        realtime(fixture_file("whole"), npz, Plan(period_ms=1))


def test_the_command(command, speech, npz, tmp_path):
    report, every = tmp_path / "result.json", tmp_path / "steps.csv"
    arguments = ("realtime", speech, "--data", npz, "--period-ms", 2, "--seconds", 0.1)
    options = ("--streams", 2, "--load", 1, "--max-misses", 50, "--json", report)
    options = (*options, "--every-step", every)
    code, out, _ = command(*arguments, *options)
    assert code == 0
    assert out.endswith("\nPASS\n")
    assert "streams / threads / load       2 / 1 / 1\n" in out
    result = json.loads(report.read_text())
    assert result["steps"] == 50
    assert result["model"] == str(speech)
    assert result["completion"]["p50_us"] <= result["completion"]["p99_9_us"]
    assert sum(result["completion"]["histogram"]["counts"]) == result["steps_run"]
    assert result["start"]["rss_mib"] > 1
    head, *lines = every.read_text().splitlines()
    steps = np.array([line.split(",") for line in lines], float)
    assert head == "arrival_s,start_delay_us,compute_us,completion_us"
    assert np.allclose(steps[:, 0], np.arange(result["steps_run"]) * 0.002)
    assert np.allclose(steps[:, 1] + steps[:, 2], steps[:, 3], atol=0.002)
    assert steps[:, 3].max() == pytest.approx(result["completion"]["max_us"], abs=0.001)
    code, out, _ = command(*arguments, "--deadline-ms", 1e-5)
    assert code == 1
    assert "FAIL: 50 of 50 steps missed their deadline of 1e-05 ms, allowed are 0\n" in out


def test_bad_arguments_are_one_line(error, speech, text, npz, tmp_path):
    arguments = ("realtime", speech, "--data", npz)
    assert "--streams: must be a whole number from 1" in error(*arguments, "--streams", "many")
    assert "`priority` must be in 1..99" in error(*arguments, "--priority", 100)
    assert "`cpu` must be one that this process may use" in error(*arguments, "--cpu", 100_000)
    same = ("--json", tmp_path / "a", "--every-step", tmp_path / "b" / ".." / "a")
    assert "--json and --every-step name the same file" in error(*arguments, *same)
    assert "another file for --every-step" in error(*arguments, "--every-step", speech)
    tokens = tmp_path / "tokens.npz"
    np.savez(tokens, x=np.ones((2, 3), np.int32))
    assert "--period-ms" in error("realtime", text, "--data", tokens)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_the_summary(
    command, speech, npz, tmp_path, monkeypatch, fake_clock, number
):
    fake, report = fake_clock(), tmp_path / "result.json"

    def sleep(seconds):
        fake.sleep(seconds)
        if fake.sleeps == 8:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(MODULE, "Clock", lambda: Clock(fake.now, sleep))
    before = signal.getsignal(signal.SIGTERM)
    arguments = ("--seconds", 60, "--load", 1, "--json", report)
    code, out, err = command("realtime", speech, "--data", npz, *arguments)
    assert code == 130
    assert out.endswith("\nFAIL: interrupted after 7 of 6000 steps\n")
    assert [line for line in err.splitlines() if not line.startswith("INFO")] == []
    result = json.loads(report.read_text())
    assert (result["interrupted"], result["steps_run"], result["deadline_misses"]) == (True, 7, 0)
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_interrupt_before_the_first_step_has_no_summary(
    command, speech, npz, tmp_path, monkeypatch, fake_clock
):
    fake, report = fake_clock(), tmp_path / "result.json"

    def sleep(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(MODULE, "Clock", lambda: Clock(fake.now, sleep))
    code, out, _ = command("realtime", speech, "--data", npz, "--json", report)
    assert (code, out) == (130, "")
    assert os.listdir(tmp_path) == ["data.npz"]


def test_spin_polls_the_clock_instead_of_sleeping(speech, npz, monkeypatch, fake_clock):
    fake = fake_clock()
    monkeypatch.setattr(MODULE, "Clock", lambda sleep=fake.sleep: Clock(fake.now, sleep))
    plan = Plan(seconds=0.05, period_ms=10, max_misses=99)
    assert not realtime(speech, npz, plan).spin
    assert fake.sleeps >= 5
    fake.sleeps = 0
    assert realtime(speech, npz, replace(plan, spin=True)).spin
    assert fake.sleeps == 0
