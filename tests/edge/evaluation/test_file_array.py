"""Frames in an `.npy` file: indexed as an array is, and never mapped as a whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from kgated_edge import DataError, load_npz
from kgated_edge.evaluation.file_array import FileArray

ROOT = Path(__file__).parents[3]
UNDER_A_LIMIT = """
import json, resource, sys
import numpy as np
from kgated_edge import load_npz
limit = 2**30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
data = load_npz(sys.argv[1])
total = sum(float(data.sequence(n).sum()) for n in range(len(data)))
batch = data.x[np.arange(4)]
print(json.dumps([len(data), data.x.nbytes, total, float(batch.sum())]))
"""


@pytest.fixture
def array(tmp_path, rng):
    x = rng.normal(size=(7, 5, 3))
    np.save(tmp_path / "d.npy", x)
    return x


@pytest.mark.parametrize(
    "index",
    [0, -1, slice(None), slice(2, 5), slice(6, 1, -2), [3, 1, 3], (2, slice(1, 4)), ([1, 2], 0)],
)
def test_it_indexes_as_an_array(array, tmp_path, index):
    rows = FileArray(tmp_path / "d.npy")[index]
    np.testing.assert_array_equal(rows, array[index])


def test_rows_in_another_order_stay_in_the_file(array, tmp_path):
    chosen = FileArray(tmp_path / "d.npy", np.float32).rows(np.array([5, 2, 2]))
    expected = array[[5, 2, 2]].astype(np.float32)
    assert (len(chosen), chosen.shape, chosen.dtype) == (3, (3, 5, 3), np.float32)
    np.testing.assert_array_equal(chosen[:], expected)
    np.testing.assert_array_equal(chosen[1, :2], expected[1, :2])
    np.testing.assert_array_equal(np.asarray(chosen.rows(np.array([0]))), expected[:1])


def test_a_damaged_file_is_refused(array, tmp_path):
    path = tmp_path / "d.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(DataError, match="cut short"):
        FileArray(path)
    path.write_bytes(b"x,y\n1,2\n")
    with pytest.raises(DataError, match=r"not an \.npy file"):
        FileArray(path)
    np.save(path, np.asfortranarray(array))
    with pytest.raises(DataError, match="in C order"):
        FileArray(path)


def test_nan_in_a_real_frame_is_found_and_in_padding_is_not(array, tmp_path):
    array[3, 4] = np.nan
    np.save(tmp_path / "d.npy", array)
    np.savez(tmp_path / "d.npz", lengths=np.full(7, 4))
    assert load_npz(tmp_path / "d.npz").x.shape == (7, 5, 3)
    np.savez(tmp_path / "d.npz", lengths=np.full(7, 5))
    with pytest.raises(DataError, match="NaN or inf in sequence 3, frame 4"):
        load_npz(tmp_path / "d.npz")


def test_three_sparse_gibibytes_are_read_under_a_limit_of_one(tmp_path):
    shape = (48, 64, 262144)
    with (tmp_path / "d.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        start, row = file.tell(), 4 * shape[1] * shape[2]
        file.truncate(start + 48 * row)
        for n in range(48):
            file.seek(start + n * row)
            file.write(np.ones(2, np.float32).tobytes())
    np.savez(tmp_path / "d.npz", lengths=np.full(48, 1, np.int32), y=np.arange(48) % 2)
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "edge")}
    command = [sys.executable, "-c", UNDER_A_LIMIT, str(tmp_path / "d.npz")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [48, 48 * row, 96.0, 8.0]
