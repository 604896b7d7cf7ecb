"""The data contract: what load_npz takes, and each way to break it."""

import zipfile

import numpy as np
import pytest
from kgated_edge import DataError, load_npz


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data.npz"


@pytest.fixture
def x(rng):
    return rng.normal(size=(5, 7, 3)).astype(np.float32)


def test_reads_frames(path, x):
    lengths, y = np.array([7, 1, 3, 2, 7], np.int32), np.arange(5)
    np.savez(path, x=x, lengths=lengths, y=y)
    data = load_npz(path)
    assert len(data) == 5
    assert np.array_equal(data.x, x)
    assert data.x.dtype == np.float32
    assert np.array_equal(data.lengths, lengths)
    assert np.array_equal(data.y, y)


def test_reads_tokens_and_more_axes(path, x):
    np.savez_compressed(path, x=np.ones((2, 4), np.int32))
    data = load_npz(str(path))
    assert data.x.dtype == np.int32
    assert data.lengths.tolist() == [4, 4]
    assert data.y is None
    np.savez(path, x=x[..., None])
    assert load_npz(path).x.shape == (5, 7, 3, 1)


def test_targets_per_frame(path, x):
    np.savez(path, x=x, y=x[..., :2])
    assert load_npz(path).y.shape == (5, 7, 2)


def test_padding_may_hold_anything(path, x):
    lengths = np.full(5, 4)
    x[:, 4:] = np.nan
    np.savez(path, x=x, lengths=lengths)
    assert load_npz(path).lengths.tolist() == [4] * 5


def refusal(path):
    with pytest.raises(DataError) as caught:
        load_npz(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_files_that_are_no_npz(path, tmp_path, x):
    assert "no such file: check the path" in refusal(path)
    assert "this is a directory" in refusal(tmp_path)
    for content in (b"", b"hello", b"PK\3\4", b"\x93NUMPY\1\0"):
        path.write_bytes(content)
        assert "this is not an intact .npz file" in refusal(path)
    with path.open("wb") as file:
        np.save(file, x)
    assert "this is a single array: save it with np.savez(path, x=x)" in refusal(path)


def test_cut_or_damaged_archives(path, x, rng):
    np.savez_compressed(path, x=x)
    content = path.read_bytes()
    for size in rng.integers(1, len(content), 60):
        path.write_bytes(content[:size])
        assert "not an intact .npz file" in refusal(path)
    refused = 0
    for _ in range(200):
        changed = bytearray(content)
        changed[rng.integers(len(content))] ^= int(rng.integers(1, 256))
        path.write_bytes(bytes(changed))
        try:
            load_npz(path)
        except DataError:
            refused += 1
    assert refused > 100


def test_an_array_that_claims_to_be_huge(path, x):
    np.savez(path, x=x)
    with zipfile.ZipFile(path) as archive:
        member = archive.read("x.npy")
    assert member.count(b"(5, 7, 3)") == 1
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", member.replace(b"(5, 7, 3), }   ", b"(5, 7, 3000000)"))
    assert "not an intact .npz file" in refusal(path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"frames": 1, "lengths": 2}, "there is no array `x`, only frames, lengths: save it with"),
        ({}, "there is no array `x`, only nothing"),
        ({"x": np.array([{}, None])}, "`x` holds pickled objects, which are not loaded: save"),
        ({"x": np.zeros((2, 3, 4))}, "got float64: save x.astype('float32')"),
        ({"x": np.zeros((2, 3, 4), np.float16)}, "got float16: save x.astype('float32')"),
        ({"x": np.zeros((2, 3), np.int64)}, "got int64: save x.astype('int32')"),
        ({"x": np.zeros((2, 3), bool)}, "must be float32 or int32, got bool"),
        ({"x": np.array([["a"]])}, "must be float32 or int32, got <U1"),
        ({"x": np.zeros((2, 3), np.float32)}, "got shape (2, 3) of float32"),
        ({"x": np.zeros((2, 3, 4), np.int32)}, "got shape (2, 3, 4) of int32"),
        ({"x": np.zeros((), np.int32)}, "got shape () of int32"),
        ({"x": np.zeros((0, 3, 4), np.float32)}, "must not be empty, got shape (0, 3, 4)"),
        ({"x": np.zeros((2, 0, 4), np.float32)}, "must not be empty, got shape (2, 0, 4)"),
    ],
)
def test_bad_x(path, arrays, message):
    np.savez(path, **arrays)
    assert message in refusal(path)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([7, 7, 7, 7], "`lengths` must be (5,) integers, one per sequence, got shape (4,)"),
        ([[7, 7, 7, 7, 7]], "got shape (1, 5)"),
        ([7.0] * 5, "got shape (5,) of float64"),
        ([7, 7, 8, 7, 7], "must be in 1..7, the frames in `x`, got 8 for sequence 2"),
        ([7, 0, 1, 7, 7], "got 0 for sequence 1"),
        ([7, 7, 7, 7, -3], "got -3 for sequence 4"),
    ],
)
def test_bad_lengths(path, x, lengths, message):
    np.savez(path, x=x, lengths=lengths)
    assert message in refusal(path)


def test_pickled_lengths_and_labels(path, x):
    for name in ("lengths", "y"):
        np.savez(path, x=x, **{name: np.array([None] * 5)})
        assert f"`{name}` holds pickled objects" in refusal(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_names_the_frame_that_is_not_finite(path, x, bad):
    x[3, 5, 1] = bad
    np.savez(path, x=x)
    assert "`x` holds NaN or inf in sequence 3, frame 5: drop the frame" in refusal(path)
    np.savez(path, x=x, lengths=[7, 7, 7, 6, 7])
    assert "sequence 3, frame 5" in refusal(path)
    np.savez(path, x=x, lengths=[7, 7, 7, 5, 7])
    assert load_npz(path).lengths[3] == 5


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(4, int), "(N, T, ...) targets with N, T = (5, 7), got shape (4,)"),
        (np.zeros(()), "got shape ()"),
        (np.zeros((5, 6)), "got shape (5, 6)"),
        (np.array(["a"] * 5), "`y` must hold numbers, got <U1: save class numbers"),
    ],
)
def test_bad_y(path, x, y, message):
    np.savez(path, x=x, y=y)
    assert message in refusal(path)
