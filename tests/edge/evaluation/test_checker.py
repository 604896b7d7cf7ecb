"""check and selftest: what they count, and which limits they hold a run to."""

import itertools
import time

import numpy as np
import pytest
from kgated_edge import DataError, EdgeError, EdgeModel, SequenceData, check, selftest
from kgated_edge.cli.text import check_text
from kgated_edge.evaluation.chance import chance_warnings
from kgated_edge.evaluation.metrics import Numbers
from kgated_edge.measure.monitor import peak_memory_mib, resident_mib

COUNT, MOST, GOLDEN = 24, 9, 6


@pytest.fixture
def data(speech, oracle, rng):
    """Sequences with the labels that the equations decide for, both classes among them."""
    x = rng.normal(0.0, 2.0, size=(COUNT, MOST, 3)).astype(np.float32)
    lengths = rng.integers(1, MOST + 1, size=COUNT)
    ends = [oracle(speech, x[n, :length])[-1] for n, length in enumerate(lengths)]
    labels = np.argmax(ends, axis=-1)
    assert 2 < labels.sum() < COUNT - 2
    return SequenceData(x, lengths, labels)


def relabelled(data, y):
    return SequenceData(data.x, data.lengths, y)


def test_the_report_counts_sequences_steps_and_bytes(speech, data):
    result = check(speech, data)
    assert result.sequences == COUNT
    assert result.steps == data.lengths.sum()
    assert sum(result.latency_histogram.counts) == result.steps
    assert result.model_bytes == len(speech.read_bytes())
    assert result.passed
    assert result.failures == ()


def test_accuracy_is_decided_at_the_last_real_frame(speech, data):
    assert check(speech, data).accuracy == 1.0
    wrong = data.y.copy()
    wrong[:6] = 1 - wrong[:6]
    assert check(speech, relabelled(data, wrong)).accuracy == (COUNT - 6) / COUNT
    full_length = SequenceData(data.x, np.full(COUNT, MOST), data.y)
    assert check(speech, full_length).accuracy < 1.0, "padding changes no decision: a weak test"


def test_labels_per_frame_score_every_step(speech, oracle, data):
    each = np.stack([oracle(speech, row).argmax(-1) for row in data.x])
    each[np.arange(MOST) >= data.lengths[:, None]] = -1  # what padding holds counts for nothing
    assert check(speech, relabelled(data, each)).accuracy == 1.0
    wrong = each.copy()
    wrong[3, 0] = 1 - wrong[3, 0]
    total = data.lengths.sum()
    assert check(speech, relabelled(data, wrong)).accuracy == pytest.approx((total - 1) / total)


def test_each_sequence_starts_from_zero(speech, data):
    """Run the other way round, each sequence still gets the decision it had."""
    backwards = SequenceData(data.x[::-1], data.lengths[::-1], data.y[::-1])
    assert check(speech, backwards).accuracy == 1.0


def test_a_token_model(text, oracle, rng):
    x = rng.integers(5, size=(6, 8)).astype(np.int32)
    y = np.array([oracle(text, row)[-1].argmax() for row in x])
    assert check(text, SequenceData(x, np.full(6, 8), y)).accuracy == 1.0


def test_no_labels_no_accuracy(speech, data):
    result = check(speech, relabelled(data, None))
    assert (result.accuracy, result.passed) == (None, True)
    with pytest.raises(DataError, match="no `y` to compute accuracy from"):
        check(speech, relabelled(data, None), min_accuracy=0.5)


def test_an_accuracy_limit(speech, data):
    wrong = data.y.copy()
    wrong[:6] = 1 - wrong[:6]
    exact = check(speech, relabelled(data, wrong), min_accuracy=0.75)
    assert exact.passed
    missed = check(speech, relabelled(data, wrong), min_accuracy=0.76)
    assert not missed.passed
    assert missed.failures == ("accuracy is 0.7500, at least 0.76 is required",)


def test_a_deadline(speech, data):
    assert check(speech, data, deadline_ms=1e4).deadline_misses == 0
    steps = int(data.lengths.sum())
    missed = check(speech, data, deadline_ms=1e-6)
    assert missed.deadline_misses == steps
    assert missed.failures == (
        f"{steps} of {steps} steps took longer than 1e-06 ms, allowed are 0",
    )
    assert not check(speech, data, deadline_ms=1e-6, max_misses=steps - 1).passed
    assert check(speech, data, deadline_ms=1e-6, max_misses=steps).passed
    assert check(speech, data).deadline_misses is None


@pytest.mark.parametrize(("slow_call", "misses"), [(3, 0), (GOLDEN + 5, 0), (GOLDEN + 9, 1)])
def test_only_steps_over_the_data_are_timed(speech, data, monkeypatch, slow_call, misses):
    """The golden frames come first, then here six steps to warm up."""
    calls, step = itertools.count(1), EdgeModel.step

    def slow_once(model, frame):
        if next(calls) == slow_call:
            time.sleep(1.2)
        return step(model, frame)

    monkeypatch.setattr(EdgeModel, "step", slow_once)
    result = check(speech, data, deadline_ms=1000, warmup_steps=6)
    assert result.deadline_misses == misses
    assert (result.latency_us_max > 1e6) == bool(misses)


def test_figures_are_in_order(speech, data):
    result = check(speech, data)
    figures = [
        result.latency_us_p50,
        result.latency_us_p90,
        result.latency_us_p99,
        result.latency_us_max,
    ]
    assert figures == sorted(figures)
    assert figures[0] > 0
    edges = result.latency_histogram.edges_us
    assert edges[0] <= figures[0] <= figures[-1] < edges[-1]


def test_real_time_factor(speech, text, data, rng):
    result = check(speech, data)
    assert result.sample_period_s == 0.01
    assert result.real_time_factor == pytest.approx(result.latency_us_mean / 10_000)
    tokens = SequenceData(rng.integers(5, size=(2, 3)).astype(np.int32), np.full(2, 3))
    assert check(text, tokens).real_time_factor is None


def test_the_peak_memory_is_that_of_this_process(speech, data):
    result = check(speech, data)
    assert result.peak_memory_mib <= peak_memory_mib()
    assert result.peak_memory_mib > 0.9 * resident_mib()


def test_selftest_passes(speech, text):
    for path in (speech, text):
        result = selftest(path)
        assert result.passed
        assert result.golden_frames == GOLDEN
        assert 0 <= result.golden_max_abs_error <= result.golden_tolerance


def test_selftest_sees_a_changed_weight(speech, edit, data):
    with np.load(speech.with_suffix(".npz")) as arrays:
        weights = arrays["dense_bias"]
    changed = weights + np.float32(1e-4) * np.array([1, -1], np.float32)
    path = edit(speech, weights.tobytes(), changed.tobytes())
    result = selftest(path)
    assert not result.passed
    assert 1e-5 < result.golden_max_abs_error < 1e-3
    assert result.failures[0].startswith("golden outputs differ by ")
    assert check(path, data).failures == result.failures
    assert not check(path, data).golden_ok


def test_selftest_sees_a_perturbed_golden_output(speech, edit):
    content = speech.read_bytes()
    start = content.index(b'"base64":"', content.index(b'"outputs":{')) + len(b'"base64":"')
    old = content[start : start + 20]
    result = selftest(edit(speech, old, b"AACAPw" + old[6:]))
    assert not result.passed
    assert result.golden_max_abs_error > 0.1


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (
            np.zeros(COUNT),
            r"one of the shapes \[\(24, 2\), \(24, 9, 2\)\] .* or class numbers as integers",
        ),
        (np.zeros((COUNT, MOST - 1), int), r"got shape \(24, 8\)"),
        (np.full((COUNT, MOST), 2), r"got 2 for sequence 0, frame 0"),
        (np.zeros(COUNT, bool), "got shape \\(24,\\) of bool"),
        (np.full(COUNT, 2), r"`y` must be in 0\.\.1, the outputs of the model, got 2"),
        (np.full(COUNT, -1), "got -1 for sequence 0"),
    ],
)
def test_labels_that_no_decision_can_match(speech, data, y, message):
    with pytest.raises(DataError, match=message):
        check(speech, relabelled(data, y))


def test_data_of_another_model(speech, text, data):
    with pytest.raises(DataError, match=r"frames of shape \(2,\) float32 do not fit the model"):
        check(speech, SequenceData(data.x[..., :2], data.lengths))
    with pytest.raises(DataError, match=r"which takes \(\) int32"):
        check(text, data)
    tokens = np.full((2, 4), 3, np.int32)
    tokens[1, 2] = 5
    with pytest.raises(DataError, match=r"in 0\.\.4, got 5 in sequence 1, frame 2"):
        check(text, SequenceData(tokens, np.full(2, 4)))
    assert check(text, SequenceData(tokens, np.array([4, 2]))).steps == 6


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"deadline_ms": 0}, "`deadline_ms` must be above 0, got 0"),
        ({"deadline_ms": float("nan")}, "`deadline_ms` must be above 0"),
        ({"deadline_ms": float("inf")}, "`deadline_ms` must be above 0"),
        ({"max_misses": -1}, "`max_misses` must be a whole number from 0, got -1"),
        ({"min_accuracy": 1.1}, r"`min_accuracy` must be in 0\.\.1, got 1.1"),
        ({"min_accuracy": float("nan")}, r"`min_accuracy` must be in 0\.\.1"),
        ({"num_threads": 0}, "`num_threads` must be an int in 1..256"),
    ],
)
def test_limits_out_of_range(speech, data, limits, message):
    with pytest.raises(EdgeError, match=message):
        check(speech, data, **limits)


def test_results_of_chance_are_named_beside_pass(speech, data):
    """A file no better than one constant answer passes without limits, with a warning."""
    assert check(speech, data).warnings == ()
    frequent = int(data.y.mean() > 0.5)
    wrong = 1 - data.y
    result = check(speech, relabelled(data, wrong))
    assert result.passed
    assert "no better than always answering class" in result.warnings[0]
    assert repr(result.labels[1 - frequent]) in result.warnings[0]
    shown = check_text("m.tflite", result).splitlines()
    assert shown[-1] == "PASS"
    assert shown[-2] == f"WARNING: {result.warnings[0]}"
    single = check(speech, relabelled(data, np.zeros_like(data.y)))
    assert single.warnings == (), "data of one class say nothing of chance"


@pytest.mark.parametrize(("error", "warned"), [(0.0, False), (1.0, True)])
def test_numbers_no_better_than_their_mean_are_named(error, warned):
    targets = np.arange(8.0) / 8
    scorer = Numbers(targets, None)
    for n, target in enumerate(targets):
        scorer.add(n, np.array([[target + error]]))
    assert bool(chance_warnings(scorer.quality(), None)) is warned
