"""Layers that stay in float by `skip`, and what is refused before anything is written."""

import keras
import numpy as np
import pytest
from kgated_edge import EdgeModel
from model_builders import classifier, sequential, spread
from tflite_files import operators

import kgated
from kgated.deploy.tflite import flatbuffer
from kgated.errors import ConversionError

FEATURES = 5
X_SHAPE = (12, 8, FEATURES)


@pytest.mark.parametrize("name", ["float16", "dynamic", "int8"])
def test_a_skipped_layer_stays_in_float(name, rng, x, tmp_path):
    model = spread(classifier(kgated.LSTM), rng)
    path = tmp_path / "m.tflite"
    kgated.to_tflite(model, path, quantize=name, skip=["output"], calibration=x)
    weights = {}
    for kind, inputs, _ in operators(path.read_bytes()):
        if kind == "FULLY_CONNECTED":
            weights[int(inputs[1].shape[0])] = flatbuffer.type_name(inputs[1])
    assert weights.pop(3) == "float32"
    if name != "float16":  # there the product is in float, and its weights are cast before it
        assert set(weights.values()) == {"int8"}
    assert EdgeModel(path).manifest.recipe["skip"] == ["output"]


def test_a_skipped_recurrent_layer_has_a_state_in_float(rng, x, tmp_path):
    path = tmp_path / "m.tflite"
    model = spread(classifier(kgated.GRU), rng)
    kgated.to_tflite(model, path, quantize="int8", skip=["cell"], calibration=x)
    manifest = EdgeModel(path).manifest
    assert [state.dtype for state in manifest.states] == ["float32"]
    assert manifest.output.dtype == "int8"


def test_skip_distinguishes_dense_and_dense_1(rng, x, tmp_path):
    layers = [keras.layers.Dense(4 + n, name=f"dense_{n}" if n else "dense") for n in range(3)]
    model = sequential(*layers, kgated.GRU(4))
    path = tmp_path / "m.tflite"
    kgated.to_tflite(model, path, quantize="dynamic", skip=["dense_1"], calibration=x)
    weights = {
        int(inputs[1].shape[0]): flatbuffer.type_name(inputs[1])
        for name, inputs, _ in operators(path.read_bytes())
        if name == "FULLY_CONNECTED"
    }
    assert {size: weights[size] for size in (4, 5, 6)} == {4: "int8", 5: "float32", 6: "int8"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"quantize": "int8"}, "needs `calibration`"),
        ({"quantize": "int16x8"}, "needs `calibration`"),
        ({"quantize": "dynamic", "skip": ["outptu"]}, r"\['cell', 'output'\].*outptu"),
        ({"skip": ["output"]}, "`skip`.*'none'"),
        ({"quantize": "int8", "state": "internal"}, "external"),
        ({"quantize": "int8", "calibration": np.zeros((2, 3, 4), np.float32)}, "shape"),
        ({"quantize": "int8", "calibration": np.full((2, 3, 5), np.nan, np.float32)}, "holds NaN"),
        ({"calibration": np.full((2, 3, 5), np.inf, np.float32)}, "sequence 0, frame 0"),
    ],
)
def test_bad_arguments_leave_no_file(rng, tmp_path, arguments, message):
    arguments = dict(arguments)
    if "calibration" in arguments:
        arguments["calibration"] = arguments["calibration"][..., :FEATURES]
    with pytest.raises(ValueError, match=f"(?s){message}"):
        kgated.to_tflite(spread(classifier(kgated.GRU), rng), tmp_path / "m.tflite", **arguments)
    assert list(tmp_path.iterdir()) == []


@keras.saving.register_keras_serializable("tests")
class OwnPower(keras.layers.Layer):
    """The power of two tensors, for which there is no integer kernel."""

    def call(self, x):
        return keras.ops.power(1.0 + keras.ops.abs(x), keras.ops.flip(x, axis=-1))


def test_an_operator_without_integer_kernel_is_named(rng, x, tmp_path):
    model = sequential(OwnPower(name="smooth"), kgated.GRU(4))
    with pytest.raises(
        ConversionError,
        match=r"stream-int16x8 has no integer kernel for POW .layer `smooth`.*`skip`",
    ):
        kgated.to_tflite(model, tmp_path / "m.tflite", quantize="int16x8", calibration=x)
    kgated.to_tflite(
        model, tmp_path / "m.tflite", quantize="int16x8", skip=["smooth"], calibration=x
    )


def pooled(join, with_outputs):
    """Both means and maxima of a recurrent layer, joined; perhaps outputs themselves."""
    frames = keras.Input((None, FEATURES))
    x = keras.layers.GRU(4, return_sequences=True, name="cell")(frames)
    mean = keras.layers.GlobalAveragePooling1D(name="mean")(x)
    largest = keras.layers.GlobalMaxPooling1D(name="largest")(x)
    joined = join(name="join")([mean, largest])
    return keras.Model(frames, [mean, largest, joined] if with_outputs else joined)


@pytest.mark.parametrize(
    ("join", "with_outputs", "target"),
    [
        (keras.layers.Concatenate, False, "cpu"),
        (keras.layers.Concatenate, True, "c"),
        (keras.layers.Add, False, "cpu"),
    ],
)
def test_a_skipped_layer_is_joined_with_integers(join, with_outputs, target, rng, x, tmp_path):
    model, path = spread(pooled(join, with_outputs), rng), tmp_path / "m.tflite"
    options = {"quantize": "int8", "skip": ["mean"], "target": target}
    kgated.to_tflite(model, path, calibration=x, **options)
    results, expected = EdgeModel(path).run(x[0]), model.predict(x[:1], verbose=0)
    if not with_outputs:
        results, expected = {"join": results}, [expected]
    names = ["mean", "largest", "join"] if with_outputs else ["join"]
    for name, result in zip(names, expected, strict=True):
        assert np.abs(results[name][-1] - result[0]).max() < 0.05


def test_a_layer_without_operators_cannot_be_skipped(rng, x, tmp_path):
    layers = [kgated.GRU(4), keras.layers.Dropout(0.1, name="dropped")]
    model = sequential(*layers)
    with pytest.raises(ConversionError, match="dropped"):
        kgated.to_tflite(
            model, tmp_path / "m.tflite", quantize="dynamic", skip=["dropped"], calibration=x
        )
