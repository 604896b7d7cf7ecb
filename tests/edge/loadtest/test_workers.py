"""`realtime` with a pool over two processes."""

import numpy as np
import pytest
from kgated_edge import EdgeError, Plan, SequenceData, realtime
from kgated_edge.cli.text import realtime_text


def test_two_processes_run_all_streams(speech, rng):
    x = rng.normal(size=(1, 8, 3)).astype(np.float32)
    data = SequenceData(x, np.array([8]))
    # Slow enough for a machine with a high load, where late steps would be left out.
    plan = Plan(period_ms=100.0, seconds=0.5, streams=5, pool=True, workers=2, max_misses=5)
    result = realtime(speech, data, plan)
    assert (result.streams, result.workers, result.batches) == (5, 2, ())
    assert result.steps_run == 5
    assert "in a pool of 2 processes" in realtime_text("m", result)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"workers": 0, "pool": True}, "`workers` must be at least 1"),
        ({"workers": 2}, r"give `pool` \(--pool\) too"),
        ({"workers": 2, "pool": True, "num_threads": 2}, "leave one of the two out"),
    ],
)
def test_workers_that_are_refused(options, reason):
    with pytest.raises(EdgeError, match=reason):
        Plan(period_ms=1.0, **options)
