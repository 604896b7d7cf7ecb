"""Files in the forms that older versions of Keras 2 wrote, by hand, and files that are refused."""

import importlib
import json

import h5py
import keras
import numpy as np
import pytest

from kgated.interop import load_h5

T, F, U = 7, 3, 4
INITIALIZER = {
    "class_name": "VarianceScaling",
    "config": {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform", "dtype": "float32"},
}


def old_layer(kind, name, **config):
    """A layer as Keras 2.0 to 2.2 wrote it."""
    return {"class_name": kind, "config": {"name": name, "trainable": True, **config}}


def old_recurrent(kind, name="rnn", **config):
    options = {
        "units": U,
        "activation": "tanh",
        "recurrent_activation": "hard_sigmoid",
        "use_bias": True,
        "kernel_initializer": INITIALIZER,
        "recurrent_initializer": {"class_name": "OrthogonalV2", "config": {"gain": 1.0}},
        "bias_initializer": {"class_name": "Zeros", "config": {}},
        "kernel_regularizer": {"class_name": "L1L2", "config": {"l1": 0.0, "l2": 0.01}},
        "return_sequences": False,
        "implementation": 1,
        "recurrent_dropout": 0.0,
        "batch_input_shape": [None, T, F],
        "dtype": "float32",
    }
    return old_layer(kind, name, **{**options, **config})


def write(path, layers, weights, version=b"2.1.6-tf", model=None):
    """A file with a Sequential model, or with `model`, and the weights of each layer by name."""
    config = model or {"class_name": "Sequential", "config": layers}
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config).encode()
        file.attrs["keras_version"] = version
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name in weights]
        for name, arrays in weights.items():
            inner = group.create_group(name)
            inner.attrs["weight_names"] = [f"{name}/w{n}:0".encode() for n in range(len(arrays))]
            for n, array in enumerate(arrays):
                inner[f"{name}/w{n}:0"] = array
    return path


def random(rng, *shapes):
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def hard_sigmoid(x):
    """Keras 2's."""
    return np.clip(0.2 * x + 0.5, 0.0, 1.0)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def lstm(x, kernel, recurrent, bias, gate):
    """The last h of an LSTM with gates i, f, c, o, in float64."""
    h = c = np.zeros((len(x), recurrent.shape[0]))
    for frame in np.moveaxis(x.astype(np.float64), 1, 0):
        i, f, g, o = np.split(frame @ kernel + h @ recurrent + bias, 4, axis=1)
        c = gate(f) * c + gate(i) * np.tanh(g)
        h = gate(o) * np.tanh(c)
    return h


def gru(x, kernel, recurrent, bias, gate):
    """The last h of a GRU with gates z, r, h and the reset before the product, in float64."""
    h = np.zeros((len(x), recurrent.shape[0]))
    (wz, wr, wh), (uz, ur, uh) = (np.split(k, 3, axis=1) for k in (kernel, recurrent))
    bz, br, bh = np.split(bias, 3)
    for frame in np.moveaxis(x.astype(np.float64), 1, 0):
        z, r = gate(frame @ wz + h @ uz + bz), gate(frame @ wr + h @ ur + br)
        h = z * h + (1.0 - z) * np.tanh(frame @ wh + (r * h) @ uh + bh)
    return h


def run(model, x):
    return np.asarray(model.predict(x, verbose=0))


def test_an_lstm_of_keras_2_0_in_a_list_of_layers(tmp_path, rng):
    weights = random(rng, (F, 4 * U), (U, 4 * U), (4 * U,))
    model = load_h5(write(tmp_path / "m.h5", [old_recurrent("LSTM")], {"rnn": weights}))
    (x,) = random(rng, (2, T, F))
    assert np.abs(run(model, x) - lstm(x, *weights, hard_sigmoid)).max() < 1e-6
    assert np.abs(run(model, x) - lstm(x, *weights, sigmoid)).max() > 1e-2


def test_a_gru_without_reset_after_in_its_config(tmp_path, rng):
    weights = random(rng, (F, 3 * U), (U, 3 * U), (3 * U,))
    model = load_h5(write(tmp_path / "m.h5", [old_recurrent("GRU")], {"rnn": weights}))
    (x,) = random(rng, (2, T, F))
    assert np.abs(run(model, x) - gru(x, *weights, hard_sigmoid)).max() < 1e-6


def test_a_cudnn_lstm_by_the_rules_of_its_layout(tmp_path, rng):
    """Each gate's block lies as W (U, F) row after row; the bias has two halves."""
    blocks = random(rng, *4 * [(U, F)])
    squares = random(rng, *4 * [(U, U)])
    biases = random(rng, (8 * U,))[0]
    stored = [
        np.concatenate([block.ravel().reshape(F, U) for block in blocks], axis=1),
        np.concatenate(squares, axis=1),
        biases,
    ]
    config = old_recurrent("CuDNNLSTM")
    for absent in ("activation", "recurrent_activation", "recurrent_dropout", "use_bias"):
        del config["config"][absent]
    model = load_h5(write(tmp_path / "m.h5", [config], {"rnn": stored}))
    kernel, recurrent = (np.concatenate([b.T for b in part], axis=1) for part in (blocks, squares))
    (x,) = random(rng, (2, T, F))
    expected = lstm(x, kernel, recurrent, biases[: 4 * U] + biases[4 * U :], sigmoid)
    assert np.abs(run(model, x) - expected).max() < 1e-6


def test_a_cudnn_layer_with_weights_in_the_plain_layout(tmp_path, rng):
    """As Keras 2 writes them where it ran an LSTM in its place."""
    weights = random(rng, (F, 4 * U), (U, 4 * U), (4 * U,))
    config = old_recurrent("CuDNNLSTM", recurrent_activation="sigmoid")
    model = load_h5(write(tmp_path / "m.h5", [config], {"rnn": weights}))
    (x,) = random(rng, (2, T, F))
    assert np.abs(run(model, x) - lstm(x, *weights, sigmoid)).max() < 1e-6


def test_names_with_slashes_and_a_functional_model(tmp_path, rng):
    layers = [
        old_layer("InputLayer", "scope/input", batch_input_shape=[None, T, F], sparse=False),
        old_recurrent("LSTM", "scope/rnn", time_major=False),
        old_layer(
            "BatchNormalization", "scope/bn", axis=[1], fused=True, momentum=0.9, epsilon=0.1
        ),
    ]
    for item, source in zip(layers, (None, "scope/input", "scope/rnn"), strict=True):
        item["name"] = item["config"]["name"]
        item["inbound_nodes"] = [[[source, 0, 0, {}]]] if source else []
    model = {
        "class_name": "Model",
        "config": {
            "name": "old/model",
            "layers": layers,
            "input_layers": [["scope/input", 0, 0]],
            "output_layers": [["scope/bn", 0, 0]],
        },
    }
    weights = random(rng, (F, 4 * U), (U, 4 * U), (4 * U,))
    norm = [*random(rng, (U,), (U,), (U,)), np.full(U, 2.0, np.float32)]
    path = write(tmp_path / "m.h5", None, {"scope/rnn": weights, "scope/bn": norm}, model=model)
    (x,) = random(rng, (2, T, F))
    gamma, beta, mean, variance = norm
    hidden = lstm(x, *weights, hard_sigmoid)
    expected = gamma * (hidden - mean) / np.sqrt(variance + 0.1) + beta
    assert np.abs(run(load_h5(path), x) - expected).max() < 1e-5


def test_an_embedding_reads_whole_numbers(tmp_path, rng):
    layers = [old_layer("Embedding", "e", input_dim=9, output_dim=F, batch_input_shape=[None, T])]
    model = load_h5(write(tmp_path / "m.h5", layers, {"e": random(rng, (9, F))}))
    assert model.inputs[0].dtype == "int32"


class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x


def test_a_class_of_ones_own_by_custom_objects(tmp_path, rng):
    layers = [old_recurrent("LSTM"), old_layer("Twice", "twice")]
    weights = random(rng, (F, 4 * U), (U, 4 * U), (4 * U,))
    path = write(tmp_path / "m.h5", layers, {"rnn": weights, "twice": []})
    (x,) = random(rng, (2, T, F))
    model = load_h5(path, {"Twice": Twice})
    assert np.abs(run(model, x) - 2 * lstm(x, *weights, hard_sigmoid)).max() < 1e-6
    with pytest.raises(ValueError, match=r"layer `twice` \(Twice\).*custom_objects.*--import"):
        load_h5(path)


def test_files_of_keras_3_are_read_too(tmp_path, rng):
    gru = keras.layers.GRU(U, recurrent_activation="hard_sigmoid")  # that of Keras 3
    model = keras.Sequential([keras.Input((T, F)), gru, keras.layers.Dense(2)])
    model.save(tmp_path / "m.h5")
    (x,) = random(rng, (2, T, F))
    np.testing.assert_array_equal(run(load_h5(tmp_path / "m.h5"), x), run(model, x))


REFUSED = [
    ([old_recurrent("LSTM", time_major=True)], r"`rnn` \(LSTM\) has `time_major=True`"),
    ([old_recurrent("LSTM"), old_layer("Lambda", "f", function=["abc", None])], "code"),
    (
        [old_recurrent("LSTM"), old_layer("TensorFlowOpLayer", "op", node_def={"op": "Mul"})],
        "operation `Mul` of TensorFlow.*load_weights",
    ),
    (
        [old_recurrent("LSTM"), old_layer("TFOpLambda", "op", function="math.add")],
        "operation `math.add` of TensorFlow",
    ),
    ([old_recurrent("LSTM"), old_layer("Addons>Crf", "crf")], r"`crf` \(Addons>Crf\)"),
    ([old_recurrent("LSTM", batch_input_shape=None)], "shape of the model's input"),
]


@pytest.mark.parametrize(("layers", "message"), REFUSED)
def test_what_keras_3_cannot_build_is_named_with_the_way_out(layers, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load_h5(write(tmp_path / "m.h5", layers, {}))


def test_weights_that_do_not_fit_are_named(tmp_path, rng):
    def load(weights):
        return load_h5(write(tmp_path / "m.h5", [old_recurrent("LSTM")], weights))

    shapes = [(F, 4 * U), (U, 4 * U), (4 * U,)]
    with pytest.raises(ValueError, match=r"differ in .*rnn"):
        load({})
    with pytest.raises(ValueError, match=r"`rnn` has 3 weights. Received: 2"):
        load({"rnn": random(rng, *shapes[:2])})
    with pytest.raises(ValueError, match=r"rnn/w0.*\(3, 16\).*\(5, 16\)"):
        load({"rnn": random(rng, (5, 4 * U), *shapes[1:])})


def test_files_that_hold_no_model_are_refused(tmp_path):
    model = keras.Sequential([keras.Input((T, F)), keras.layers.LSTM(U)])
    model.save_weights(tmp_path / "only.weights.h5")
    with pytest.raises(ValueError, match=r"holds weights and no model.*load_weights"):
        load_h5(tmp_path / "only.weights.h5")
    (tmp_path / "text.h5").write_text("not a model")
    with pytest.raises(ValueError, match="no HDF5 file"):
        load_h5(tmp_path / "text.h5")
    with pytest.raises(FileNotFoundError):
        load_h5(tmp_path / "none.h5")
    path = write(tmp_path / "one.h5", [old_recurrent("LSTM")], {}, version=b"1.2.2")
    with pytest.raises(ValueError, match=r"Keras 1.2.2"):
        load_h5(path)


def test_models_saved_by_earlier_versions_find_the_hard_sigmoid():
    module = importlib.import_module("kgated.interop.keras2")  # as their configuration names it
    assert float(module.keras2_hard_sigmoid(np.float32(1.0))) == pytest.approx(0.7)
