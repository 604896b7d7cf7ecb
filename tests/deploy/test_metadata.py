"""The options of a conversion, sent to another process as data."""

from dataclasses import replace

import numpy as np
import pytest
from kgated_edge.evaluation.dataset import SequenceData, load_npz

from kgated.deploy import Recipe
from kgated.deploy.metadata import ConversionOptions

OPTIONS = ConversionOptions(
    Recipe("sequence", "int8", skip=("a", "b"), calibration_method="percentile", percentile=99.5),
    labels=("yes, no", "はい"),
    sample_period_s=1 / 3,
    length=np.int64(7),
    figures={"accuracy": 0.1 + 0.2},
    tolerance=0.25,
)


def test_options_come_back_from_a_folder(tmp_path):
    OPTIONS.save(tmp_path)
    loaded = ConversionOptions.load(tmp_path)
    assert replace(loaded, labels=tuple(loaded.labels)) == OPTIONS
    assert OPTIONS.labels != replace(OPTIONS, labels=("no",)).labels


def test_options_without_anything_come_back(tmp_path):
    options = ConversionOptions(Recipe())
    options.save(tmp_path)
    assert ConversionOptions.load(tmp_path) == options


@pytest.mark.parametrize("kind", ["array", "mapping", "data", "path"])
def test_a_calibration_comes_back_as_a_file(kind, rng, tmp_path):
    x = rng.normal(size=(3, 4, 2)).astype(np.float32)
    lengths = np.array([4, 2, 3])
    np.savez(tmp_path / "own.npz", x=x)
    calibration = {
        "array": x,
        "mapping": {"x": x},
        "data": SequenceData(x=x, lengths=lengths, y=None),
        "path": tmp_path / "own.npz",
    }[kind]
    folder = tmp_path / "job"
    folder.mkdir()
    replace(OPTIONS, calibration=calibration).save(folder)
    data = load_npz(ConversionOptions.load(folder).calibration)
    np.testing.assert_array_equal(data.x, x)
    if kind == "data":
        np.testing.assert_array_equal(data.lengths, lengths)


@pytest.mark.parametrize("kind", ["tuple", "mapping", "data", "path"])
def test_an_evaluation_comes_back_with_its_labels(kind, rng, tmp_path):
    x, y, lengths = rng.normal(size=(3, 4, 2)).astype(np.float32), np.arange(3), np.array([4, 2, 3])
    np.savez(tmp_path / "own.npz", x=x, y=y, lengths=lengths)
    evaluation = {
        "tuple": (x, y, lengths),
        "mapping": {"x": x, "y": y, "lengths": lengths},
        "data": SequenceData(x=x, lengths=lengths, y=y),
        "path": tmp_path / "own.npz",
    }[kind]
    folder = tmp_path / "job"
    folder.mkdir()
    replace(OPTIONS, evaluation=evaluation).save(folder)
    data = load_npz(ConversionOptions.load(folder).evaluation)
    np.testing.assert_array_equal(data.x, x)
    np.testing.assert_array_equal(data.y, y)
    np.testing.assert_array_equal(data.lengths, lengths)
