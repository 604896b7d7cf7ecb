"""A model on a schedule: what is run, what is reported, what ends it."""

import json
import os
import signal
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from kgated_edge import DataError, EdgeError, EdgeModel, Plan, read_manifest, realtime
from kgated_edge.loadtest.capacity import Bounded, NoRoomError, carried, largest, look_at_memory
from kgated_edge.loadtest.runner import round_of
from kgated_edge.loadtest.scheduler import Clock, Schedule

MS = 1_000_000
MODULE = import_module(
    "kgated_edge.loadtest.runner"
)  # the package's own name for it is the function


def clock_of(fake):
    return Clock(fake.now, fake.sleep)


def test_every_figure_of_a_run_on_a_known_clock(speech, npz, fake_clock):
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


def test_the_period_is_the_models_unless_given(speech, text, fixture_file):
    manifest = read_manifest(speech)
    blocks = replace(manifest, frames_per_step=3)
    assert Plan(seconds=1).schedule(manifest) == Schedule(100, 10 * MS, 10 * MS)
    assert Plan(seconds=1).schedule(blocks) == Schedule(33, 30 * MS, 30 * MS)
    given = Plan(period_ms=4, deadline_ms=3, seconds=1)
    assert given.schedule(read_manifest(text)) == Schedule(250, 4 * MS, 3 * MS)
    assert Plan(seconds=1e-6).schedule(manifest).count == 1
    with pytest.raises(EdgeError, match="no sample period: give `period_ms`"):
        Plan().schedule(read_manifest(text))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"period_ms": 0}, "`period_ms` must be above 0, got 0"),
        ({"deadline_ms": float("nan")}, "`deadline_ms` must be above 0, got nan"),
        ({"seconds": float("inf")}, "`seconds` must be above 0, got inf"),
        ({"streams": 0}, "`streams` must be at least 1, got 0"),
        ({"load": -1}, "`load` must be at least 0, got -1"),
        ({"priority": 100}, r"`priority` must be in 1..99, got 100"),
        ({"max_misses": -1}, "`max_misses` must be at least 0"),
        ({"load": 10**6}, r"`load` must be at most \d+, 16 for each CPU, got 1000000"),
        ({"period_ms": "10"}, "`period_ms` must be a number, got '10'"),
        ({"seconds": None}, "`seconds` must be a number, got None"),
        ({"streams": 2.0}, "`streams` must be an int, got 2.0"),
        ({"load": True}, "`load` must be an int, got True"),
        ({"pool": 1}, "`pool` must be True or False, got 1"),
    ],
)
def test_plans_out_of_range(values, message):
    with pytest.raises(EdgeError, match=message):
        Plan(**values)


def test_a_schedule_must_be_feasible(speech):
    for values in ({"period_ms": 1e-4}, {"seconds": 1e300}):
        with pytest.raises(EdgeError, match="`period_ms` must be at least"):
            Plan(**values).schedule(read_manifest(speech))


def test_every_stream_gets_every_frame_in_order(speech, rng):
    frames = rng.normal(size=(5, 3)).astype(np.float32)
    model = EdgeModel(speech)
    models = [model, model.clone(), model.clone()]
    take = round_of(models, list(frames))
    for n in range(12):
        take(n)
    alone = model.clone()
    alone.run(np.concatenate([frames, frames, frames[:2]]))
    for one in models:
        assert all(np.array_equal(one.state[name], a) for name, a in alone.state.items())


def test_the_largest_number_that_holds():
    for limit in (0, 1, 2, 3, 7, 8, 100, 12345):
        found = largest(lambda n, limit=limit: n <= limit)
        assert found <= limit <= found * 1.01 + 1
    assert largest(lambda n: n <= 57) == 57


@pytest.mark.parametrize(("deadline_ms", "expected"), [(10, 9), (5.5, 5), (0.5, 0)])
def test_streams_are_counted_by_running_them(fake_clock, deadline_ms, expected):
    fake = fake_clock()

    def grow(streams):
        def step(n):
            fake.time += streams * MS

        return step

    schedule = Schedule(5, 10 * MS, int(deadline_ms * MS))
    assert carried(grow, schedule, 0, clock_of(fake)) == expected


def test_a_trial_that_was_disturbed_is_repeated(fake_clock):
    fake, stalls = fake_clock(), iter([30 * MS])

    def grow(streams):
        def step(n):
            fake.time += streams * MS + (next(stalls, 0) if n == 5 else 0)

        return step

    assert carried(grow, Schedule(5, 10 * MS, 10 * MS), 0, clock_of(fake)) == 9


def test_as_many_streams_as_are_carried_are_run(speech, npz, fake_clock):
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
    assert "--json and --every-step are one file" in error(*arguments, *same)
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


def test_spin_keeps_a_cpu_busy(speech, npz):
    asleep, awake = (
        realtime(speech, npz, Plan(seconds=0.4, period_ms=40, max_misses=99, spin=spin))
        for spin in (False, True)
    )
    assert (asleep.spin, awake.spin) == (False, True)
    assert awake.cpu_time_s > 3 * asleep.cpu_time_s
    with pytest.raises(EdgeError, match="`spin` and `priority` exclude each other"):
        Plan(spin=True, priority=5)


class Memory:
    """Each stream takes 10 MiB of 100."""

    def __init__(self):
        self.made, self.asked = 0, []

    def look(self):
        return 50 + 10.0 * self.made, 100 - 10.0 * self.made

    def grow(self, count):
        self.asked.append(count)
        self.made = count
        return lambda n: None


def test_streams_end_where_memory_does(fake_clock):
    memory = Memory()
    grow = Bounded(memory.grow, memory.look)
    grow(2)
    grow(3)
    assert memory.asked == [1, 2, 2, 3, 3]
    assert not grow.is_full
    with pytest.raises(NoRoomError, match=r"12 would take 60 MiB more than 6 do, of 40 that are"):
        grow(100)
    assert grow.is_full
    assert memory.made == 6
    grow(4)
    assert memory.made == 4
    memory, clock = Memory(), clock_of(fake_clock())
    assert carried(Bounded(memory.grow, memory.look), Schedule(5, MS, MS), 0, clock) == 7


def test_memory_is_read_where_the_system_shows_it(tmp_path):
    assert look_at_memory(tmp_path) == (None, None)
    for name, text in (
        ("proc/meminfo", "MemTotal: 9 kB\nMemAvailable:  4096 kB\n"),
        ("proc/self/statm", "9 2 0"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert look_at_memory(tmp_path) == (2 * os.sysconf("SC_PAGE_SIZE") / 2**20, 4.0)
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("max\n")
    (tmp_path / "sys/fs/cgroup/memory.current").write_text(f"{2**20}\n")
    assert look_at_memory(tmp_path)[1] == 4.0
    (tmp_path / "sys/fs/cgroup/memory.max").write_text(f"{3 * 2**20}\n")
    assert look_at_memory(tmp_path)[1] == 2.0
