"""Figures of step times, on times whose figures are known."""

import time

import numpy as np
from kgated_edge.measure import latency


def test_percentiles_of_known_times():
    times = np.arange(1, 1001) * 1000
    np.random.default_rng(0).shuffle(times)
    assert latency.metrics(times) == {
        "latency_us_p50": 500.0,
        "latency_us_p90": 900.0,
        "latency_us_p99": 990.0,
        "latency_us_max": 1000.0,
        "latency_us_mean": 500.5,
    }


def test_figures_of_one_step():
    figures = latency.metrics(np.array([1500]))
    assert set(figures.values()) == {1.5}


def test_histogram_counts_every_time_once():
    times = np.array([100, 999, 1000, 1001, 1300, 10_000, 123_456_789])
    result = latency.histogram(times)
    assert sum(result.counts) == len(times)
    assert len(result.edges_us) == len(result.counts) + 1
    for low, high, count in zip(
        result.edges_us[:-1], result.edges_us[1:], result.counts, strict=True
    ):
        assert count == ((times / 1e3 >= low) & (times / 1e3 < high)).sum()


def test_histograms_of_different_runs_share_their_edges():
    first = latency.histogram(np.array([1100, 90_000]))
    second = latency.histogram(np.array([5, 2_000]))
    shared = set(first.edges_us) & set(second.edges_us)
    assert shared == {edge for edge in first.edges_us if edge <= second.edges_us[-1]}


def test_a_time_of_zero_is_counted():
    assert sum(latency.histogram(np.array([0, 0, 3])).counts) == 3


def test_each_step_is_timed_separately():
    times = np.zeros(3, np.int64)
    waits = [0.02, 0.0, 0.01]
    result = latency.time_steps(lambda wait: time.sleep(wait) or wait, waits, times)
    assert result == waits
    assert times[0] >= 20e6
    assert 0 < times[1] < times[0]
    assert times[2] >= 10e6


def test_the_spread_of_known_times():
    times = np.arange(1, 10_001) * 1000
    np.random.default_rng(0).shuffle(times)
    spread = latency.spread(times)
    assert (spread.p50_us, spread.p90_us, spread.p99_us) == (5000.0, 9000.0, 9900.0)
    assert (spread.p99_9_us, spread.max_us, spread.mean_us) == (9990.0, 10_000.0, 5000.5)
    assert spread.std_us == np.sqrt((10_000**2 - 1) / 12)
    assert sum(spread.histogram.counts) == 10_000


def test_timeline_covers_every_step_in_order():
    times = np.arange(1, 1203) * 1000
    actual = latency.timeline(times)
    assert actual.steps_per_slice == 3
    assert actual.max_us == (*range(3, 1201, 3), 1202)
    assert actual.p50_us == (*range(2, 1201, 3), 1201)
    assert latency.timeline(np.array([1500])) == latency.Timeline(1, (1.5,), (1.5,))
