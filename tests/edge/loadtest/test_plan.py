"""The configuration of a load test: its schedule, and values that are refused."""

from dataclasses import replace

import pytest
from kgated_edge import EdgeError, Plan, read_manifest
from kgated_edge.loadtest.scheduler import Schedule

MS = 1_000_000


def test_the_period_is_the_models_unless_given(speech, text, fixture_file):
    manifest = read_manifest(speech)
    blocks = replace(manifest, frames_per_step=3)
    assert Plan(seconds=1).schedule(manifest) == Schedule(100, 10 * MS, 10 * MS)
    assert Plan(seconds=1).schedule(blocks) == Schedule(33, 30 * MS, 30 * MS)
    arguments = Plan(period_ms=4, deadline_ms=3, seconds=1)
    assert arguments.schedule(read_manifest(text)) == Schedule(250, 4 * MS, 3 * MS)
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


def test_spin_and_priority_exclude_each_other():
    with pytest.raises(EdgeError, match="`spin` and `priority` exclude each other"):
        Plan(spin=True, priority=5)
