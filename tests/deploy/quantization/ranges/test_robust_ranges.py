"""One outlier in the calibration does not cost the scale."""

import keras
import numpy as np
import pytest

import kgated
from kgated.deploy.quantization.ranges.calibration import sample_origins
from kgated.deploy.quantization.ranges.robust_ranges import _percentiles, _smallest_error

METHODS = ("minmax", "percentile", "mse")


def test_samples_belong_to_their_sequences():
    assert sample_origins([4, 2, 6], 2) == [0, 0, 1, 2, 2, 2]
    assert sample_origins([4000, 4192], 1) == [0] * 2000 + [1] * 2096


def test_a_percentile_leaves_out_the_sequence_that_reaches_farthest():
    values = np.array([[-1.0, 1.0], [-2.0, 90.0], [-80.0, 2.0], [-3.0, 3.0]])
    assert _percentiles(values, np.array([0, 1, 1, 2]), 99.9) == (-3.0, 3.0)
    assert _percentiles(values, np.array([0, 1, 1, 2]), 100.0) == (-80.0, 90.0)


def test_mse_narrows_the_end_with_the_outlier(rng):
    values = rng.uniform(-1, 1, size=(200, 8)).astype(np.float32)
    limits = float(values.min()), float(values.max())
    assert _smallest_error(values, limits, 8) == pytest.approx(limits, abs=0.05)
    values[3, 2] = 100.0
    low, high = _smallest_error(values, (limits[0], 100.0), 8)
    assert low == limits[0]
    assert 0.7 < high < 2.0


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    last = keras.layers.Dense(3, activation="softmax")
    return keras.Sequential([keras.Input((None, 4)), kgated.GRU(6), last])


@pytest.mark.parametrize(
    ("options", "frames", "better"),
    # Each unrolled step has ranges of its own, for which one sequence in 400 counts more.
    [({}, 1, 3), ({"mode": "sequence", "length": 6}, 6, 2)],
)
@pytest.mark.filterwarnings("ignore:in int8, all features:UserWarning")
def test_an_outlier_among_400_sequences_costs_no_scale(
    options, frames, better, model, rng, tmp_path
):
    x = rng.normal(size=(400, 6, 4)).astype(np.float32)
    outlier = x.copy()
    outlier[0, :frames, 1] = 100.0
    errors = {}
    for method in METHODS:
        conversion = kgated.to_tflite(
            model,
            tmp_path / "m.tflite",
            quantize="int8",
            calibration=outlier,
            calibration_method=method,
            evaluation=x[1:],
            **options,
        )
        assert conversion.manifest.recipe["calibration_method"] == method
        errors[method] = conversion.agreement.relative_rmse
    assert errors["percentile"] < errors["minmax"] / better
    assert errors["mse"] < errors["minmax"] / 3
