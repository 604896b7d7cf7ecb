"""The capacity search: the largest number of streams, by deadlines and by memory."""

import os

import pytest
from kgated_edge.loadtest.capacity import (
    MemoryBudgetError,
    MemoryLimited,
    find_capacity,
    largest,
    system_memory,
)
from kgated_edge.loadtest.scheduler import Clock, Schedule

MS = 1_000_000


def clock_of(fake):
    return Clock(fake.now, fake.sleep)


def test_the_largest_number_that_passes():
    for limit in (0, 1, 2, 3, 7, 8, 100, 12345):
        result = largest(lambda n, limit=limit: n <= limit)
        assert result <= limit <= result * 1.01 + 1
    assert largest(lambda n: n <= 57) == 57


def test_a_prediction_spares_trials_and_cannot_mislead():
    for limit in (100, 5000, 12345):
        for predicted in (1, 3 * limit // 4, 40 * limit):
            tried = []

            def predict(n, limit=limit, predicted=predicted, tried=tried):
                tried.append(n)
                return predicted if n <= limit else 0

            result = largest(predict)
            assert result <= limit <= result * 1.01 + 1
            assert predicted != 3 * limit // 4 or len(tried) <= 10


def test_the_search_ends_with_what_has_passed_when_its_time_is_over(fake_clock):
    fake, trials = fake_clock(), []

    def add_streams(streams):
        def step(n):
            fake.time += 400 * MS if streams <= 37 else 4000 * MS

        return step

    schedule = Schedule(20, 1000 * MS, 500 * MS)
    streams = find_capacity(
        add_streams, schedule, 0, clock_of(fake), lambda *trial: trials.append(trial)
    )
    assert streams == max(number for number, passed in trials if passed) < 37
    assert fake.time < 120_000 * MS


@pytest.mark.parametrize(("deadline_ms", "expected"), [(10, 9), (5.5, 5), (0.5, 0)])
def test_the_capacity_is_found_by_running_streams(fake_clock, deadline_ms, expected):
    fake = fake_clock()

    def add_streams(streams):
        def step(n):
            fake.time += streams * MS

        return step

    schedule = Schedule(5, 10 * MS, int(deadline_ms * MS))
    assert find_capacity(add_streams, schedule, 0, clock_of(fake)) == expected


def test_a_disturbed_trial_is_repeated(fake_clock):
    fake, stalls = fake_clock(), iter([30 * MS])

    def add_streams(streams):
        def step(n):
            fake.time += streams * MS + (next(stalls, 0) if n == 5 else 0)

        return step

    assert find_capacity(add_streams, Schedule(5, 10 * MS, 10 * MS), 0, clock_of(fake)) == 9


def test_a_trial_that_misses_all_deadlines_fails_however_many_are_allowed(fake_clock):
    fake, allowed = fake_clock(), 10_000

    def add_streams(streams):
        def step(n):
            fake.time += streams * MS

        return step

    streams = find_capacity(add_streams, Schedule(5, 10 * MS, 10 * MS), allowed, clock_of(fake))
    assert streams < 100


class Memory:
    """Each stream takes 10 MiB of 100."""

    def __init__(self):
        self.made, self.asked = 0, []

    def read(self):
        return 50 + 10.0 * self.made, 100 - 10.0 * self.made

    def add_streams(self, count):
        self.asked.append(count)
        self.made = count
        return lambda n: None


def test_streams_are_limited_by_the_memory_budget(fake_clock):
    memory = Memory()
    limited = MemoryLimited(memory.add_streams, memory.read)
    limited(2)
    limited(3)
    assert memory.asked == [1, 2, 2, 3, 3]
    assert not limited.is_full
    with pytest.raises(
        MemoryBudgetError, match=r"12 would take 60 MiB more than 6 do, of 40 that are"
    ):
        limited(100)
    assert limited.is_full
    assert memory.made == 6
    limited(4)
    assert memory.made == 4
    memory, clock = Memory(), clock_of(fake_clock())
    assert (
        find_capacity(MemoryLimited(memory.add_streams, memory.read), Schedule(5, MS, MS), 0, clock)
        == 7
    )


def test_memory_is_read_where_the_system_shows_it(tmp_path):
    assert system_memory(tmp_path) == (None, None)
    for name, text in (
        ("proc/meminfo", "MemTotal: 9 kB\nMemAvailable:  4096 kB\n"),
        ("proc/self/statm", "9 2 0"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert system_memory(tmp_path) == (2 * os.sysconf("SC_PAGE_SIZE") / 2**20, 4.0)
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("max\n")
    (tmp_path / "sys/fs/cgroup/memory.current").write_text(f"{2**20}\n")
    assert system_memory(tmp_path)[1] == 4.0
    (tmp_path / "sys/fs/cgroup/memory.max").write_text(f"{3 * 2**20}\n")
    assert system_memory(tmp_path)[1] == 2.0
