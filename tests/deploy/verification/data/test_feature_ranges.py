"""Features of different magnitude share an integer scale: the conversion warns."""

import re

import keras
import numpy as np
import pytest
from kgated_edge import EdgeModel
from kgated_edge.format.manifest import TensorSpec

import kgated
from kgated.deploy.verification.data.feature_ranges import check_frames_vary, warn_of_small_features
from kgated.errors import ConversionError

SMALL = 0.02  # of the other features' size: 5 of 256 steps


def normalized_classifier(x):
    normalization = keras.layers.Normalization()
    normalization.adapt(x)
    return keras.Sequential(
        [
            keras.Input((None, x.shape[-1])),
            normalization,
            kgated.GRU(8),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


def largest_error(x, path, quantize):
    model = normalized_classifier(x)
    kgated.to_tflite(model, path, quantize=quantize, calibration=x)
    files = np.array([EdgeModel(path).run(sequence)[-1] for sequence in x])
    return np.abs(files - np.asarray(model(x))).max()


@pytest.fixture
def like(rng):
    return rng.uniform(-1, 1, size=(8, 12, 3)).astype(np.float32)


def test_small_features_are_named_and_lose(like, tmp_path):
    error = largest_error(
        like, tmp_path / "like.tflite", "int8"
    )  # and no warning, which fails a test
    unlike = like * np.array([SMALL, 1.0, SMALL], np.float32)
    with pytest.warns(
        UserWarning, match="2 of 3 span fewer than 16 of its 256 steps: features 0, 2"
    ):
        worse = largest_error(unlike, tmp_path / "unlike.tflite", "int8")
    assert worse > 1.5 * error


def test_a_constant_feature_is_not_named(like):
    like[..., 0] = 0.25
    sequences = [{"frame": sequence} for sequence in like]
    warn_of_small_features(sequences, [TensorSpec("frame", (3,), "float32")])


def test_16_bit_integers_resolve_small_features(like, tmp_path):
    unlike = like * np.array([SMALL, 1.0, SMALL], np.float32)
    with pytest.warns(UserWarning, match="span fewer"):
        coarse = largest_error(unlike, tmp_path / "int8.tflite", "int8")
    fine = largest_error(unlike, tmp_path / "int16.tflite", "int16x8")  # and no warning
    assert fine < coarse / 10


def test_a_normalization_that_blows_up_a_constant_feature_is_refused(like, tmp_path):
    like[..., 1] = 0.25
    model = normalized_classifier(like)
    with pytest.raises(ConversionError, match=r"`normalization.*` divides features \[1\] by 1e-07"):
        kgated.to_tflite(model, tmp_path / "m.tflite", quantize="int8", calibration=like)
    assert not list(tmp_path.iterdir())
    kgated.to_tflite(model, tmp_path / "m.tflite", quantize="dynamic", calibration=like)


def test_each_way_out_for_a_constant_feature_works(like, tmp_path):
    like[..., 1] = 0.25
    model, path = normalized_classifier(like), tmp_path / "m.tflite"
    (layer,) = (part for part in model.layers if isinstance(part, keras.layers.Normalization))
    with pytest.raises(ConversionError) as refusal:
        kgated.to_tflite(model, path, quantize="int8", calibration=like)
    code, _, skip = re.findall("`([^`]*)`", str(refusal.value))[2:]
    assert skip == f'skip=["{layer.name}"]'
    kgated.to_tflite(model, path, quantize="int8", calibration=like, skip=[layer.name])
    expected = np.asarray(model(like))
    exec(code, {"layer": layer})
    kgated.to_tflite(model, path, quantize="int8", calibration=like)
    np.testing.assert_allclose(np.asarray(model(like)), expected, atol=1e-5)
    moved = like.copy()
    moved[..., 1] += 0.01  # times 1e7 it would decide alone
    np.testing.assert_allclose(np.asarray(model(moved)), expected, atol=0.05)


@pytest.mark.parametrize("data", [np.zeros((2, 6, 3)), np.ones((1, 1, 3)), np.full((3, 4, 3), 7.0)])
def test_frames_that_do_not_vary_give_no_ranges(data, tmp_path):
    """Such a file was written without a warning, and answered one constant for all other frames."""
    model = keras.Sequential([keras.Input((None, 3)), kgated.GRU(2)])
    what = (
        "a single frame" if data.size == 3 else f"the same frame {len(data) * data.shape[1]} times"
    )
    with pytest.raises(ValueError, match=f"`calibration` holds {what}: .*Give sequences as"):
        kgated.to_tflite(
            model, tmp_path / "m.tflite", quantize="int8", calibration=data.astype("f")
        )
    assert not any(tmp_path.iterdir())


def test_one_input_that_varies_is_enough(rng):
    frames = [TensorSpec("a", (2,), "float32"), TensorSpec("b", (1,), "float32")]
    same = {"a": np.ones((4, 2), np.float32), "b": np.ones((4, 1), np.float32)}
    check_frames_vary([same, {**same, "b": 2 * same["b"]}], frames)
    with pytest.raises(ValueError, match="the same frame 8 times"):
        check_frames_vary([same, same], frames)


@pytest.mark.parametrize("quantize", ["none", "int8"])
def test_numbers_that_overflow_are_refused_with_the_reason(quantize, like, tmp_path):
    model = keras.Sequential([keras.Input((None, 3)), kgated.GRU(2)])
    like[5, 3, 1] = -1e35
    with pytest.raises(
        ValueError, match=r"sequence 5: input `frame` holds numbers up to 1e\+35, .*Clip"
    ):
        kgated.to_tflite(model, tmp_path / "m.tflite", quantize=quantize, calibration=like)
