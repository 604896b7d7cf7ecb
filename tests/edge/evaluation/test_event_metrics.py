"""Misses, false accepts per hour and delay; their intervals against SciPy."""

import math

import pytest
from extra_packages import required
from kgated_edge import Event, EventScorer, ReferenceEvent
from kgated_edge.evaluation.confidence import poisson_cdf, poisson_interval, wilson_interval

stats = required("scipy.stats")


@pytest.mark.parametrize("count", [0, 1, 2, 7, 40, 1000, 100_000])
def test_the_poisson_interval_is_exact(count):
    for confidence in (0.9, 0.95, 0.99):
        tail, interval = (1 - confidence) / 2, poisson_interval(count, confidence)
        low = 0.0 if count == 0 else stats.chi2.ppf(tail, 2 * count) / 2
        assert interval.low == pytest.approx(low, rel=1e-6)
        assert interval.high == pytest.approx(stats.chi2.ppf(1 - tail, 2 * count + 2) / 2, rel=1e-6)


def test_the_poisson_distribution():
    for mean in (0.0, 1e-9, 0.5, 30.0, 2e4):
        for count in (0, 3, 35, 20_100):
            assert poisson_cdf(count, mean) == pytest.approx(stats.poisson.cdf(count, mean))


@pytest.mark.parametrize(("count", "total"), [(0, 5), (5, 5), (3, 17), (400, 1000)])
def test_the_wilson_interval(count, total):
    expected = stats.binomtest(count, total).proportion_ci(0.95, "wilson")
    interval = wilson_interval(count, total)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_metrics_of_two_recordings():
    scorer = EventScorer(collar_s=0.1)
    reference = [ReferenceEvent("a", 10.0, 11.0), ReferenceEvent("b", 20.0, 21.0)]
    hit = Event("a", 10.2, 10.9, 10.5, 0.9, 10.4)
    scorer.add(reference, [hit, hit._replace(start_s=50.0, end_s=51.0)], 1800.0)
    scorer.add([], [hit], 1800.0)
    metrics = scorer.metrics()
    assert (metrics.hours, metrics.reference, metrics.detected) == (1.0, 2, 3)
    assert (metrics.hits, metrics.misses, metrics.false_accepts) == (1, 1, 2)
    assert (metrics.miss_rate, metrics.false_accepts_per_hour) == (0.5, 2.0)
    assert metrics.false_accepts_per_hour_interval == poisson_interval(2)
    assert metrics.delay_ms_p50 == metrics.delay_ms_p95 == pytest.approx(400.0)
    assert vars(metrics.by_class["a"]) == {
        "reference": 1,
        "hits": 1,
        "misses": 0,
        "false_accepts": 2,
    }


def test_metrics_without_data_are_unknown():
    metrics = EventScorer().metrics()
    assert (metrics.miss_rate, metrics.delay_ms_p50) == (None, None)
    assert metrics.false_accepts_per_hour_interval.high == math.inf
