"""Whole sequences: against the equations, and what is refused."""

import numpy as np
import pytest
from kgated_edge import (
    DataError,
    EdgeModel,
    FrameError,
    ManifestError,
    SequenceData,
    SequenceModel,
    check,
    open_model,
    read_manifest,
    selftest,
)

MOST = 9


@pytest.fixture
def single_result(fixture_file):
    """The model of `speech`, for up to nine frames, one result."""
    return fixture_file("whole")


@pytest.fixture
def each(fixture_file):
    """The model of `text`, for up to nine tokens, a result for each."""
    return fixture_file("each")


@pytest.fixture
def fixed(fixture_file):
    """The model of `speech`, for just five frames."""
    return fixture_file("fixed")


@pytest.mark.parametrize("length", [1, 4, MOST])
def test_one_result_equals_the_equations(single_result, oracle, rng, length):
    frames = rng.normal(size=(length, 3)).astype(np.float32)
    result = SequenceModel(single_result).run(frames)
    assert result.shape == (2,)
    np.testing.assert_allclose(result, oracle(single_result, frames)[-1], atol=1e-5)
    assert np.abs(result - oracle(single_result, frames[::-1])[-1]).max() > 1e-5 or length == 1


@pytest.mark.parametrize("length", [1, 6, MOST])
def test_results_of_each_frame_equal_the_equations(each, oracle, rng, length):
    tokens = rng.integers(5, size=length).astype(np.int32)
    result = SequenceModel(each).run(tokens)
    assert result.shape == (length, 5)
    np.testing.assert_allclose(result, oracle(each, tokens), atol=1e-5)


def test_a_sequence_does_not_depend_on_the_one_before(single_result, rng):
    model, frames = SequenceModel(single_result), rng.normal(size=(4, 3)).astype(np.float32)
    first = model.run(frames)
    model.run(rng.normal(size=(MOST, 3)).astype(np.float32))
    np.testing.assert_array_equal(model.run(frames), first)


def test_a_stream_of_the_same_weights_ends_with_the_same(single_result, speech, rng):
    frames = rng.normal(size=(7, 3)).astype(np.float32)
    streamed = EdgeModel(speech).run(frames)[-1]
    np.testing.assert_allclose(SequenceModel(single_result).run(frames), streamed, atol=1e-6)


def test_lengths_are_checked(single_result, fixed):
    with pytest.raises(FrameError, match="1 to 9 frames, got 10"):
        SequenceModel(single_result).run(np.zeros((10, 3), np.float32))
    with pytest.raises(FrameError, match="1 to 9 frames, got 0"):
        SequenceModel(single_result).run(np.zeros((0, 3), np.float32))
    with pytest.raises(FrameError, match="must have 5 frames, got 4"):
        SequenceModel(fixed).run(np.zeros((4, 3), np.float32))


@pytest.mark.parametrize("name", ["whole", "fixed"])
def test_bad_frames_are_refused(fixture_file, name, rng):
    model, frames = SequenceModel(fixture_file(name)), rng.normal(size=(5, 3)).astype(np.float32)
    good = model.run(frames)
    for bad in (frames.astype(np.float64), frames[:, :2], [[0.0] * 3] * 5):
        with pytest.raises(FrameError):
            model.run(bad)
    frames[2, 1] = np.nan
    with pytest.raises(FrameError, match="finite"):
        model.run(frames)
    frames[2, 1] = 0.0
    assert np.isfinite(good).all()


def test_tokens_outside_the_vocabulary(each):
    with pytest.raises(FrameError, match=r"0\.\.4"):
        SequenceModel(each).run(np.array([1, 5], np.int32))


def test_each_mode_has_its_runner(single_result, speech):
    assert isinstance(open_model(single_result), SequenceModel)
    assert isinstance(open_model(speech), EdgeModel)
    with pytest.raises(ManifestError, match="its mode is 'sequence'"):
        EdgeModel(single_result)
    with pytest.raises(ManifestError, match="its mode is 'stream'"):
        SequenceModel(speech)


def test_selftest(single_result, each, fixed):
    for path in (single_result, each, fixed):
        assert selftest(path).passed


def test_check_times_each_sequence(single_result, oracle, rng):
    x = rng.normal(0.0, 2.0, size=(10, MOST, 3)).astype(np.float32)
    lengths = rng.integers(1, MOST + 1, size=10)
    last = [oracle(single_result, x[n, :length])[-1] for n, length in enumerate(lengths)]
    y = np.argmax(last, -1)
    y[3] = 1 - y[3]
    result = check(single_result, SequenceData(x, lengths, y), warmup_steps=3)
    assert (result.sequences, result.steps, result.accuracy) == (10, 10, 0.9)
    sound_s = 0.01 * lengths.sum()
    took_s = result.latency_us_mean * 10 / 1e6
    assert result.real_time_factor == pytest.approx(took_s / sound_s)


def test_check_scores_each_frame(each, oracle, rng):
    tokens = rng.integers(5, size=(6, MOST)).astype(np.int32)
    y = np.stack([oracle(each, row).argmax(-1) for row in tokens])
    lengths = np.array([9, 3, 1, 9, 5, 2])
    assert check(each, SequenceData(tokens, lengths, y)).accuracy == 1.0
    y[1, 2] = (y[1, 2] + 1) % 5
    assert check(each, SequenceData(tokens, lengths, y)).accuracy == pytest.approx(28 / 29)


def test_check_refuses_other_lengths(single_result, fixed):
    x = np.zeros((2, 10, 3), np.float32)
    with pytest.raises(DataError, match="up to 9 frames, got 4 to 10"):
        check(single_result, SequenceData(x, np.array([10, 4])))
    with pytest.raises(DataError, match="exactly 5 frames, got 4 to 5"):
        check(fixed, SequenceData(x, np.array([5, 4])))


def test_a_label_per_frame_needs_a_result_per_frame(single_result):
    data = SequenceData(np.zeros((1, 4, 3), np.float32), np.array([4]), np.zeros((1, 4), np.int64))
    with pytest.raises(DataError, match="a label per frame"):
        check(single_result, data)


def test_the_manifest_has_padding_and_results_per_frame(single_result, each, fixed):
    assert read_manifest(single_result).padded
    assert not read_manifest(single_result).each_frame
    assert read_manifest(each).each_frame
    assert not read_manifest(fixed).padded
    assert read_manifest(fixed).frames_per_step == 5
