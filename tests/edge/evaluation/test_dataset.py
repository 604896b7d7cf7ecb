"""The data contract: what load_npz takes, and each way to break it."""

import zipfile

import numpy as np
import pytest
from kgated_edge import DataError, load_npz
from kgated_edge.evaluation.dataset import check_npz, from_arrays


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


@pytest.mark.parametrize("dtype", ["float16", "float64", "int16", "int64", "uint8", ">f4"])
def test_frames_of_other_types_become_float32(path, x, dtype):
    frames = (50 * np.abs(x)).astype(dtype)
    np.savez(path, x=frames)
    loaded = load_npz(path).x
    assert loaded.dtype == np.dtype("=f4")
    assert np.array_equal(loaded, frames.astype(np.float32))


def test_tokens_of_other_types_become_int32(path):
    tokens = np.array([[1, 2, 3], [4, 5, 6]])
    for dtype in (np.int64, np.uint8, np.uint64):
        np.savez(path, x=tokens.astype(dtype))
        assert load_npz(path).x.dtype == np.int32
        assert np.array_equal(load_npz(path).x, tokens)


def test_arrays_in_another_order_of_memory(path, x):
    np.savez(path, x=np.asfortranarray(x))
    assert load_npz(path).x.flags.c_contiguous
    assert np.array_equal(load_npz(path).x, x)
    assert np.array_equal(from_arrays({"x": x[::-1, ::2]}).x, x[::-1, ::2])


def test_an_npy_file_holds_x(tmp_path, x):
    np.save(tmp_path / "x.npy", x)
    assert np.array_equal(load_npz(tmp_path / "x.npy").x, x)
    assert np.array_equal(load_npz(tmp_path / "x.npy", ["sound"]).inputs["sound"], x)
    with pytest.raises(DataError, match=r"single array: save all with.*a=a, b=b"):
        load_npz(tmp_path / "x.npy", ["a", "b"])


def test_every_wrong_type_is_named_at_once(path):
    np.savez(path, a=np.array(["a"]), b=np.zeros((2, 3, 4), bool), y=np.zeros(2, complex))
    with pytest.raises(DataError) as caught:
        load_npz(path, ["a", "b"])
    for part in ("`a` must be", "got <U1", "`b` must be", "got bool", "`y` must hold numbers"):
        assert part in str(caught.value)
    with pytest.raises(DataError, match=r"`a` must be.*`b` must be.*`y` must hold"):
        check_npz(path)


def test_targets_are_not_looked_at_where_nobody_wants_them(path, x):
    for y in (np.zeros(5, complex), np.zeros(3), np.array([None] * 5)):
        np.savez(path, x=x, y=y)
        assert load_npz(path, targets=False).y is None
        assert check_npz(path, targets=False).y is None
        with pytest.raises(DataError, match="`y`"):
            check_npz(path)


def test_a_file_for_several_inputs_is_checked_without_their_names(path, x):
    np.savez(path, sound=x, speaker=np.zeros((5, 2), np.float32))
    assert check_npz(path) is None
    np.savez(path, x=x)
    assert np.array_equal(check_npz(path).x, x)


def test_a_number_that_float32_cannot_hold(path, x):
    frames = x.astype(np.float64)
    frames[1, 2, 0] = 1e39
    np.savez(path, x=frames)
    assert "`x` holds NaN or inf in sequence 1, frame 2" in refusal(path)


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
        ({"config.json": 1}, "this is a Keras model, and not data: give an .npz file"),
        ({"x": np.array([{}, None])}, "`x` holds pickled objects, which are not loaded: save"),
        ({"x": np.full((2, 3), 2**31)}, "`x` holds whole numbers beyond int32"),
        ({"x": np.zeros((2, 3, 4), complex)}, "must be float32 or int32, got complex128"),
        ({"x": np.zeros((2, 3), bool)}, "must be float32 or int32, got bool"),
        ({"x": np.array([["a"]])}, "must be float32 or int32, got <U1"),
        ({"x": np.zeros((2, 3), np.float32)}, "got shape (2, 3) of float32"),
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
        (np.zeros((5, 0)), "got shape (5, 0)"),
        (np.zeros(5, complex), "`y` must hold numbers or texts, got complex128"),
    ],
)
def test_bad_y(path, x, y, message):
    np.savez(path, x=x, y=y)
    assert message in refusal(path)
