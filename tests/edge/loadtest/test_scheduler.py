"""The schedule, on a clock of the test's own: nothing here depends on real time."""

import numpy as np
import pytest
from kgated_edge.loadtest.scheduler import (
    SPIN_NS,
    Clock,
    Record,
    Schedule,
    run_on_schedule,
    wait_until,
)

MS = 1_000_000
SLACK = 5_000  # a few ticks of the clock


def run(fake, schedule, costs, rest=lambda spare: None):
    """Paces steps that take `costs` (ns), and returns the record and when each began."""
    record, begun = Record(schedule), []

    def step(n):
        begun.append(fake.time)
        fake.time += int(costs[n])

    run_on_schedule(step, record, Clock(fake.now, fake.sleep), rest)
    return record, np.array(begun)


def queue(schedule, costs):
    """Start delay and completion of each frame, by the rule of a queue with one server."""
    free, delays, completions = 0, [], []
    for n, cost in enumerate(costs):
        arrival = n * schedule.period_ns
        start = max(arrival, free)
        free = start + cost
        delays.append(start - arrival)
        completions.append(free - arrival)
    return np.array(delays), np.array(completions)


def test_starts_do_not_drift(fake_clock):
    schedule = Schedule(500, 10 * MS, 10 * MS)
    fake = fake_clock(oversleep=150_000)
    record, begun = run(fake, schedule, np.full(500, 3 * MS))
    assert record.done == 500
    assert np.abs(begun - begun[0] - np.arange(500) * 10 * MS).max() <= SLACK
    assert record.start_delay_ns.max() <= SLACK
    assert fake.sleeps == 500


def test_waking_up_late_delays_each_step_and_does_not_add_up(fake_clock):
    schedule = Schedule(300, 10 * MS, 10 * MS)
    record, begun = run(fake_clock(oversleep=2 * MS), schedule, np.zeros(300))
    late = 2 * MS - SPIN_NS
    assert np.abs(record.start_delay_ns - late).max() <= SLACK
    assert np.abs(begun - begun[0] - np.arange(300) * 10 * MS).max() <= SLACK


def test_compute_and_completion_are_told_apart(fake_clock):
    record, _ = run(fake_clock(oversleep=2 * MS), Schedule(50, 10 * MS, 5 * MS), np.full(50, MS))
    assert np.abs(record.compute_ns - MS).max() <= SLACK
    assert np.abs(record.completion_ns - (3 * MS - SPIN_NS)).max() <= 2 * SLACK
    assert record.late == 0


def test_frames_wait_in_line_behind_a_slow_step(fake_clock, rng):
    # Everything is a multiple of 0.1 ms, and the deadline lies between two.
    schedule, tenth = Schedule(400, MS, 3 * MS + MS // 20), MS // 10
    costs = rng.exponential(6.0, size=400).astype(np.int64) * tenth
    record, _ = run(fake_clock(tick=10), schedule, costs)
    delays, completions = queue(schedule, costs)
    # Each frame in line costs a few ticks more.
    assert np.abs(record.start_delay_ns - delays).max() <= 40 * 400
    assert np.abs(record.completion_ns - completions).max() <= 40 * 400
    assert delays.max() > 2 * MS, "nothing waited, so nothing was shown"
    assert record.late == (completions > schedule.deadline_ns).sum() > 0


def test_one_stall_is_made_up_for(fake_clock):
    costs = np.full(20, MS)
    costs[5] = 35 * MS
    record, begun = run(fake_clock(), Schedule(20, 10 * MS, 10 * MS), costs)
    expected = np.zeros(20)
    expected[6:9] = [25 * MS, 16 * MS, 7 * MS]
    assert np.abs(record.start_delay_ns - expected).max() <= 4 * SLACK
    assert record.late == 3
    assert abs(begun[19] - begun[0] - 190 * MS) <= SLACK


def test_a_run_that_is_hopelessly_late_ends(fake_clock):
    record, begun = run(fake_clock(), Schedule(100, MS, 2 * MS), np.full(100, 3 * MS))
    # The last frame arrives after 99 ms and is to be ready after 101.
    assert record.done == len(begun) == 34
    assert record.late == 34
    only, _ = run(fake_clock(oversleep=9 * MS), Schedule(1, MS, 1), [0])
    assert (only.done, only.late) == (1, 1)


def test_what_was_recorded_stays_when_a_run_is_interrupted(fake_clock):
    fake, record = fake_clock(), Record(Schedule(100, MS, MS))

    def step(n):
        fake.time += 1000 * n
        if n == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_on_schedule(step, record, Clock(fake.now, fake.sleep))
    assert record.done == len(record.completion_ns) == 7
    assert np.abs(record.compute_ns[:7] - 1000 * np.arange(7)).max() <= SLACK


def test_rest_receives_the_remaining_time(fake_clock):
    spares = []
    costs = np.array([2, 14, 3]) * MS
    run(fake_clock(), Schedule(3, 10 * MS, 10 * MS), costs, spares.append)
    assert np.abs(np.array(spares) - np.array([8, -4, 3]) * MS).max() <= 3 * SLACK


def test_wait_until_returns_at_the_time_and_not_earlier(fake_clock):
    for oversleep in (-100_000, 0, 100_000, 5 * MS):
        fake = fake_clock(oversleep=oversleep)
        time = wait_until(20 * MS, Clock(fake.now, fake.sleep))
        assert time == fake.time
        assert 0 <= time - 20 * MS <= max(SLACK, oversleep)
    fake.time = 30 * MS
    assert wait_until(20 * MS, Clock(fake.now, fake.sleep)) == 30 * MS + 2 * fake.tick
    assert fake.sleeps == 1


def test_the_clock_of_the_system_waits():
    clock = Clock()
    moment = clock.now() + 2 * MS
    assert wait_until(moment, clock) >= moment
