"""Models that quantize_aware, prune and cluster refuse: errors name the layer and a remedy."""

import keras
import pytest

import kgated

layers = keras.layers
STEPS, FEATURES = 6, 4
SINGLE = {
    "AveragePooling1D": lambda: layers.AveragePooling1D(2, name="guilty"),
    "BatchNormalization": lambda: layers.BatchNormalization(name="guilty"),
    "Bidirectional": lambda: layers.Bidirectional(
        layers.SimpleRNN(3, name="guilty"), name="wrapper"
    ),
    "Conv1D": lambda: layers.Conv1D(3, 2, data_format="channels_first", name="guilty"),
    "Dense, log_softmax": lambda: layers.Dense(3, "log_softmax", name="guilty"),
    "GroupNormalization": lambda: layers.GroupNormalization(2, name="guilty"),
    "Lambda": lambda: layers.Lambda(lambda x: 2 * x, name="guilty"),
    "LayerNormalization": lambda: layers.LayerNormalization(axis=1, name="guilty"),
    "PReLU": lambda: layers.PReLU(name="guilty"),
    "Rescaling": lambda: layers.Rescaling(0.5, name="guilty"),
    "SeparableConv1D": lambda: layers.SeparableConv1D(3, 2, name="guilty"),
    "SimpleRNN": lambda: layers.SimpleRNN(3, name="guilty"),
    "Softmax, axis": lambda: layers.Softmax(axis=1, name="guilty"),
    "TimeDistributed": lambda: layers.TimeDistributed(layers.Dropout(0.1), name="guilty"),
    "RNN, cells": lambda: layers.RNN([kgated.LSTMCell(3), kgated.LSTMCell(3)], name="guilty"),
}


def model_of(layer):
    return keras.Sequential([keras.Input((STEPS, FEATURES)), layer])


@pytest.mark.parametrize("name", SINGLE)
def test_quantize_aware_names_the_layer_and_a_way_out(name):
    model = model_of(SINGLE[name]())
    with pytest.raises(ValueError, match=r"guilty` \(.*calibration") as caught:
        kgated.quantize_aware(model)
    assert ("log_softmax" in str(caught.value)) == (name == "Dense, log_softmax")


@pytest.mark.parametrize("name", ["LayerNormalization", "RMSNormalization", "PReLU"])
def test_quantize_aware_in_16_bits_names_what_has_only_a_model_of_8_bits(name):
    options = {"shared_axes": [1]} if name == "PReLU" else {}
    model = model_of(getattr(layers, name)(name="guilty", **options))
    assert kgated.quantize_aware(model).inner.get_layer("guilty")
    with pytest.raises(ValueError, match=r"`guilty`.*`scheme=.int16x8.`.*calibration"):
        kgated.quantize_aware(model, "int16x8")


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
def test_quantize_aware_names_an_activation_that_it_cannot_copy():
    model = model_of(layers.Activation(lambda x: x, name="guilty"))
    with pytest.raises(ValueError, match=r"`guilty`.*copied.*calibration"):
        kgated.quantize_aware(model)


def test_quantize_aware_names_an_operation():
    x = keras.Input((STEPS, FEATURES))
    model = keras.Model(x, x + layers.Dense(FEATURES)(x))
    with pytest.raises(ValueError, match=r"\(Add\).*operation.*calibration"):
        kgated.quantize_aware(model)


HAVE_KERNELS = ("Bidirectional", "Conv1D", "Dense, log_softmax", "SimpleRNN", "RNN, cells")


def optimizations(model):
    yield lambda: kgated.prune(model, kgated.optimize.ConstantSparsity(0.5, 0))
    yield lambda: kgated.cluster(model, 2)


@pytest.mark.parametrize("name", HAVE_KERNELS)
def test_prune_and_cluster_take_layers_that_quantize_aware_refuses(name):
    model = model_of(SINGLE[name]())
    for optimize in optimizations(model):
        optimize()
    assert (
        max(
            len(set(keras.ops.convert_to_numpy(w).ravel()))
            for w in model.weights
            if "kernel" in w.name
        )
        <= 2
    )


@pytest.mark.parametrize("name", sorted(set(SINGLE) - set(HAVE_KERNELS)))
def test_prune_and_cluster_say_which_layers_they_need(name):
    for optimize in optimizations(model_of(SINGLE[name]())):
        with pytest.raises(ValueError, match="`model` must have recurrent, Dense or convolution"):
            optimize()


@pytest.mark.parametrize("optimize", [kgated.quantize_aware, lambda m: kgated.cluster(m, 2)])
def test_what_is_no_model_is_refused(optimize):
    with pytest.raises(TypeError, match=r"`model`.*Received: 3"):
        optimize(3)
