"""Sequence data: the speech set, padding, splitting, and the file written for a device."""

import socket
import sys

import numpy as np
import pytest

from kgated.data import (
    SequenceData,
    japanese_vowels,
    load_npz,
    pad,
    real_frames,
    save_npz,
    split,
    take,
    zero_padded,
)


@pytest.fixture
def data(rng):
    """Twelve sequences of 3 to 8 frames, six of each class, with rubbish for padding."""
    x = rng.normal(size=(12, 8, 3)).astype(np.float32)
    lengths = rng.integers(3, 9, 12)
    x[np.arange(8) >= lengths[:, None]] = 99.0
    return SequenceData(x, lengths, np.tile([0, 1], 6))


def test_japanese_vowels_is_the_published_set_and_needs_no_network(monkeypatch):
    def refuse(*_args, **_options):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "socket", refuse)
    speech = japanese_vowels()
    assert speech.train.x.shape == (270, 26, 12)
    assert speech.test.x.shape == (370, 29, 12)
    assert speech.train.x.dtype == np.float32
    assert (speech.train.lengths.min(), speech.test.lengths.max()) == (7, 29)
    assert np.bincount(speech.train.y).tolist() == [30] * 9
    # The counts of the test set, as the UCI archive states them.
    assert np.bincount(speech.test.y).tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    assert speech.train.x[0, 0, :2] == pytest.approx([1.860936, -0.207383])
    assert len(speech.labels) == 9


def test_without_sktime_one_line_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sktime.datasets", None)
    with pytest.raises(ImportError, match=r'pip install "kgated\[demo\]"') as caught:
        japanese_vowels()
    assert "\n" not in str(caught.value)


def test_padding_is_zeros_after_the_real_frames(rng):
    sequences = [rng.normal(size=(n, 2)).astype(np.float32) for n in (4, 1, 3)]
    padded = pad(sequences)
    assert padded.lengths.tolist() == [4, 1, 3]
    for row, sequence in zip(padded.x, sequences, strict=True):
        assert (row[: len(sequence)] == sequence).all()
        assert not row[len(sequence) :].any()
    assert (real_frames(padded) == np.concatenate(sequences)).all()


def test_real_frames_and_zero_padding_leave_rubbish_out(data):
    assert len(real_frames(data)) == data.lengths.sum()
    assert not (real_frames(data) == 99.0).any()
    x = zero_padded(data)
    assert not (x == 99.0).any()
    assert x.sum() == pytest.approx(real_frames(data).sum(), rel=1e-5)


def test_split_sets_the_share_of_each_class_aside_once(data):
    remaining, aside = split(data, 1 / 3, seed=4)
    assert np.bincount(remaining.y).tolist() == [4, 4]
    assert np.bincount(aside.y).tolist() == [2, 2]
    together = np.concatenate([remaining.x, aside.x])
    assert sorted(map(bytes, together)) == sorted(map(bytes, data.x))


def test_split_follows_its_seed(data):
    again = [split(data, 1 / 3, seed=seed)[1].x for seed in (4, 4, 5)]
    assert (again[0] == again[1]).all()
    assert (again[0] != again[2]).any()


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5])
def test_split_refuses_a_fraction_out_of_range(data, fraction):
    with pytest.raises(ValueError, match="`fraction` must be above 0 and below 1"):
        split(data, fraction)


def test_split_refuses_what_has_no_classes_to_split(data):
    with pytest.raises(ValueError, match="one label per sequence"):
        split(SequenceData(data.x, data.lengths), 0.5)
    with pytest.raises(ValueError, match=r"class 1 has one sequence alone.*: add sequences"):
        split(take(data, np.array([0, 2, 1])), 0.5)


def test_what_is_saved_is_what_the_device_reads(data, tmp_path):
    save_npz(tmp_path / "test.npz", data)
    loaded = load_npz(tmp_path / "test.npz")
    assert (loaded.x == data.x).all()
    assert (loaded.lengths == data.lengths).all()
    assert (loaded.y == data.y).all()
    assert [path.name for path in tmp_path.iterdir()] == ["test.npz"]


def test_a_failed_save_leaves_the_old_file(data, tmp_path, monkeypatch):
    path = tmp_path / "test.npz"
    path.write_bytes(b"old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_npz(path, data)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["test.npz"]
