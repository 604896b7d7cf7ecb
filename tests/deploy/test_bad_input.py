"""Bad input: a clear error, before any work where that can be, and nothing on the disk."""

import resource

import keras
import numpy as np
import pytest
from model_builders import sequential

import kgated
import kgated_cli
from kgated.atomic_write import check_writable, replace_files
from kgated.errors import ConversionError

L = keras.layers
F, T = 5, 8
STREAM, WHOLE, PADDED = (
    {"mode": "stream"},
    {"mode": "sequence", "length": T},
    {"mode": "sequence", "max_length": T},
)


class Reversed(L.Layer):
    """A layer of an unknown class."""

    def call(self, x):
        return keras.ops.flip(x, axis=1)


class Subclassed(keras.Model):
    def call(self, x):
        return x


def functional(shape):
    x = keras.Input(shape)
    return keras.Model(x, keras.ops.tanh(x))


def positive(x):
    import tensorflow as tf

    return tf.boolean_mask(x, x[..., 0] > 0)


def as_text(x):
    import tensorflow as tf

    return tf.strings.to_number(tf.strings.as_string(x))


def double(x):
    return 2 * x


ODD = {
    "Lambda": lambda: sequential(L.Lambda(double, name="odd"), kgated.LSTM(3)),
    "custom": lambda: sequential(Reversed(name="odd"), kgated.LSTM(3)),
    "subclassed": Subclassed,
    "any-features": lambda: functional((None, None)),
    "no-features": lambda: functional((None, 0)),
    "rank-1": lambda: functional(()),
    "no-frames": lambda: sequential(kgated.LSTM(3), shape=(0, F)),
    "size-of-values": lambda: sequential(L.Lambda(positive)),
    "no-axis": lambda: sequential(kgated.LSTM(3), L.Lambda(lambda x: keras.ops.sum(x, -1))),
    "no-builtin": lambda: sequential(L.Lambda(as_text, name="odd"), kgated.LSTM(3)),
    "none": lambda: None,
}
REFUSED = [
    (
        "Lambda",
        STREAM,
        r"`odd` \(Lambda\) can't stream: what its function does over time is unknown",
    ),
    ("Lambda", PADDED, r"`odd` \(Lambda\) may see padding"),
    (
        "custom",
        STREAM,
        r"`odd` \(Reversed\): layer `flip\w*` .* can't stream: .*`mode=\"sequence\"`",
    ),
    ("custom", PADDED, r"`odd` \(Reversed\): layer `flip\w*` .* may see padding.*`length`"),
    ("subclassed", STREAM, "without a graph of layers"),
    ("subclassed", WHOLE, "without a graph of layers"),
    ("any-features", STREAM, r"inputs of shape \(None, None, None\).* fixed number of features"),
    ("any-features", WHOLE, r"inputs of shape \(None, None, None\).* fixed number of features"),
    ("no-features", STREAM, r"inputs of shape \(None, None, 0\)"),
    ("no-features", WHOLE, r"inputs of shape \(None, None, 0\)"),
    ("rank-1", STREAM, r"inputs of shape \(None,\)"),
    ("rank-1", WHOLE, r"inputs of shape \(None,\)"),
    ("no-frames", {"mode": "sequence"}, "`length` must be an integer of at least 1. Received: 0"),
    ("size-of-values", WHOLE, r"output `output` has shape \(None, 5\)"),
    ("no-axis", WHOLE, r"output `output` has shape \(1,\) .* on an axis of their own"),
    ("no-builtin", WHOLE, r"no builtin operator computes AsString \(layer `odd`\)"),
    ("none", STREAM, "`model` must be a Keras model. Received: None"),
]


@pytest.mark.parametrize(("name", "options", "message"), REFUSED)
def test_unsupported_models_are_refused(name, options, message, tmp_path):
    with pytest.raises((ConversionError, ValueError, TypeError), match=message) as caught:
        kgated.to_tflite(ODD[name](), tmp_path / "m.tflite", **options)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["Lambda", "custom"])
def test_models_that_run_in_keras_convert_as_sequences(name, rng, tmp_path):
    model, frames = ODD[name](), rng.normal(size=(2, T, F)).astype(np.float32)
    conversion = kgated.to_tflite(model, tmp_path / "m.tflite", calibration=frames, **WHOLE)
    assert conversion.agreement.max_abs_error < 1e-5


@pytest.mark.parametrize(
    ("name", "unknown"), [("Lambda", "function 'double'"), ("custom", "class 'Reversed'")]
)
def test_a_saved_model_of_unknown_layers(name, unknown, tmp_path):
    ODD[name]().save(tmp_path / "m.keras")
    message = rf"m\.keras: the model uses {unknown}, which is not known here; .*`--import"
    with pytest.raises(ValueError, match=message):
        kgated_cli.load_model(tmp_path / "m.keras")


GOOD = np.zeros((3, T, F), np.float32)
CALIBRATIONS = [
    (np.zeros(5, np.float32), r"must be \(N, T, F\).* got shape \(5,\)"),
    (GOOD[0], r"must be \(N, T, F\).* got shape \(8, 5\)"),
    (GOOD[:0], r"must not be empty, got shape \(0, 8, 5\)"),
    (GOOD[:, :0], r"must not be empty, got shape \(3, 0, 5\)"),
    (GOOD[..., :2], r"frames of shape \(5,\).* Received: x of shape \(3, 8, 2\)"),
    (GOOD.astype(complex), "must be float32 or int32, got complex128"),
    (GOOD.astype(np.float64) + 1e300, "holds NaN or inf in sequence 0, frame 0"),
    (GOOD.astype(object), "must be float32 or int32, got object"),
    (GOOD * np.nan, "holds NaN or inf in sequence 0, frame 0"),
    ([GOOD[0], GOOD[0, :, :2]], r"shape \(8, 5\) in sequence 0 and \(8, 2\) in sequence 1"),
    ([GOOD[0], GOOD[0, :0]], r"and \(0, 5\) in sequence 1"),
    ([], "`x` must not be empty"),
    ([["a"]], "sequence 0, must hold numbers, got <U1"),
    ([[1, [2, 3]]], "sequence 0, cannot become one array"),
    ({"y": GOOD}, "there must be an array `x`, got only"),
    ({"x": GOOD, "lengths": np.array([8, 8, 0])}, "`lengths` must be in 1..8"),
    (3, "`x` must be an array, got a int"),
    ("nowhere.npz", "no such file"),
]


@pytest.mark.parametrize(("calibration", "message"), CALIBRATIONS)
def test_bad_calibration_is_refused(calibration, message, tmp_path):
    model = sequential(kgated.LSTM(3))
    with pytest.raises(ValueError, match=message) as caught:
        kgated.to_tflite(model, tmp_path / "m.tflite", calibration=calibration)
    assert "calibration" in str(caught.value) or "nowhere" in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def full():
    """No file of this process may grow past 4 KiB: the system itself refuses to write more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_of_files_that_belong_together_all_or_none_are_written(full, tmp_path):
    paths = [tmp_path / name for name in ("m.tflite", "m.h", "m.cc")]
    replace_files(dict.fromkeys(paths, b"old"))
    with pytest.raises(OSError, match=r"File too large: .*m\.cc"):
        replace_files({paths[0]: b"new", paths[1]: b"new", paths[2]: bytes(5000)})
    assert [path.read_bytes() for path in paths] == [b"old"] * 3
    assert len(list(tmp_path.iterdir())) == 3


def test_a_device_is_not_replaced():
    with pytest.raises(OSError, match="/dev/null: it is a device"):
        check_writable("/dev/null")
