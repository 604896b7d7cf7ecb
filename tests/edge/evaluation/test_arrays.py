"""Sequences in the forms that callers have them."""

import numpy as np
import pytest
from kgated_edge import DataError, SequenceData, check, load_npz
from kgated_edge.evaluation.arrays import as_sequences, plain_arrays
from kgated_edge.evaluation.dataset_info import DataInfo
from kgated_edge.evaluation.file_array import FileArray

N, T, F = 3, 5, 4
LENGTHS = (5, 2, 3)


@pytest.fixture
def x(rng):
    return rng.normal(size=(N, T, F))


def objects(rows):
    array = np.empty(len(rows), object)
    array[:] = rows
    return array


FORMS = {
    "float64": lambda x: x,
    "float32": lambda x: x.astype(np.float32),
    "Fortran order": lambda x: np.asfortranarray(x),
    "strided": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "reversed twice": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "list of arrays": list,
    "nested lists": lambda x: x.tolist(),
    "tuple of lists": lambda x: tuple(x.tolist()),
    "array of objects": lambda x: objects(list(x)),
    "by name": lambda x: {"x": x},
    "a list by name, beside texts": lambda x: {"x": list(x), "y": np.array(["a"] * N)},
    "SequenceData": lambda x: SequenceData(x, np.full(N, T), objects(["a"] * N)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_data_becomes_float32_sequences(form, x, tmp_path):
    data = as_sequences(FORMS[form](x), targets=False)
    assert data.x.dtype == np.float32
    assert data.x.flags.c_contiguous
    np.testing.assert_array_equal(data.x, x.astype(np.float32))
    assert (data.lengths.tolist(), data.y) == ([T] * N, None)
    path = tmp_path / "data.npz"
    np.savez(path, **plain_arrays(FORMS[form](x)))
    np.testing.assert_array_equal(load_npz(path).x, data.x)


def test_sequence_data_keeps_its_description_and_its_file(x, tmp_path):
    np.save(tmp_path / "x.npy", x.astype(np.float32))
    info = DataInfo(("off", "on"), tuple("abcd"), 0.01)
    groups = np.array(["p1", "p1", "p2"])
    mapped = FileArray(tmp_path / "x.npy")
    data = as_sequences(
        SequenceData(mapped, np.full(N, T), np.arange(N) % 2, None, (), info, groups)
    )
    assert data.info == info
    assert data.groups.tolist() == groups.tolist()
    assert isinstance(data.x, FileArray)


@pytest.mark.parametrize("wrap", [list, objects])
def test_sequences_of_different_lengths(wrap, x, tmp_path):
    rows = wrap([row[:length] for row, length in zip(x, LENGTHS, strict=True)])
    data = as_sequences(rows)
    assert data.lengths.tolist() == list(LENGTHS)
    for n, length in enumerate(LENGTHS):
        np.testing.assert_array_equal(data.sequence(n), x[n, :length].astype(np.float32))
        assert not data.x[n, length:].any()
    path = tmp_path / "data.npz"
    np.savez(path, **plain_arrays(rows))
    assert load_npz(path).lengths.tolist() == list(LENGTHS)


def test_tokens_of_different_lengths():
    data = as_sequences({"x": [[1, 2, 3], [4]], "y": [0, 1]})
    assert data.x.tolist() == [[1, 2, 3], [4, 0, 0]]
    assert data.x.dtype == np.int32
    assert (data.lengths.tolist(), data.y.tolist()) == ([3, 1], [0, 1])


def test_several_inputs(x):
    words = [np.arange(length) for length in LENGTHS]
    arrays = {"sound": [row[:k] for row, k in zip(x, LENGTHS, strict=True)], "word": words}
    arrays["speaker"] = x[:, 0].tolist()
    data = as_sequences(arrays, ("sound", "word", "speaker"), ("speaker",))
    assert data.lengths.tolist() == list(LENGTHS)
    assert data.inputs["speaker"].shape == (N, F)
    arrays["word"] = words[::-1]
    with pytest.raises(DataError, match="`word` have other lengths"):
        as_sequences(arrays, ("sound", "word", "speaker"), ("speaker",))


def test_check_takes_any_form(speech, rng):
    x, y = rng.normal(size=(6, 9, 3)), rng.integers(2, size=6)
    lengths = np.array([9, 4, 9, 2, 7, 1])
    expected = check(speech, SequenceData(x.astype(np.float32), lengths, y)).quality
    rows = [row[:length] for row, length in zip(x, lengths, strict=True)]
    for data in (
        SequenceData(np.asfortranarray(x), lengths, y),
        {"x": rows, "y": y.tolist()},
        {"x": objects(rows), "lengths": lengths.tolist(), "y": y},
    ):
        assert check(speech, data).quality == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "`x` must be an array, got a NoneType"),
        (3.5, "`x` must be an array, got a float"),
        ({}, "there must be an array `x`"),
        ({"x": np.zeros((2, 3, 4)), "lengths": 3}, "`lengths` must be an array, got a int"),
        ({"x": np.zeros((2, 3, 4)), "y": "ab"}, "`y` must be an array, got a str"),
        (
            {"x": np.zeros((2, 3, 4)), "y": [1j, 2j]},
            "`y` must hold numbers or texts, got complex128",
        ),
        ({"x": [np.zeros((2, 4))], "lengths": [3]}, "`x` have other lengths than `lengths`"),
        ([np.zeros((2, 4)), np.full((1, 4), np.nan)], "NaN or inf in sequence 1, frame 0"),
        ([3, 4], "`x`, sequence 0, must be an array, got a int"),
        ([None], "`x`, sequence 0, must be an array, got a NoneType"),
        (np.array([None, 1], object), "`x`, sequence 0, must be an array, got a NoneType"),
        (np.zeros((2, 3, 4), bool), "must be float32 or int32, got bool"),
        (np.array([["a"]]), "must be float32 or int32, got <U1"),
    ],
)
def test_other_data_is_refused(data, message):
    with pytest.raises(DataError, match=message):
        as_sequences(data)


def test_data_that_cannot_become_an_array_is_refused():
    class Broken:
        def __array__(self, *_, **__):
            raise RuntimeError("on another device")

    with pytest.raises(DataError, match=r"`x` cannot become one array \(on another device\)"):
        as_sequences(Broken())
