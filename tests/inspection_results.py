"""Gradient flow and gates of one fixed model, to be compared between backends."""

import keras
import numpy as np
from model_builders import SEQUENCES
from registry import inputs

import kgated
from kgated import inspection


def computed():
    """Every value by kind, layer and name, as lists, on the backend that is set."""
    layers = [
        kgated.PeepholeLSTM(4, name="lstm", **SEQUENCES),
        kgated.GRU(4, name="gru", **SEQUENCES),
        keras.layers.SimpleRNN(4, name="simple"),
    ]
    model = keras.Sequential([keras.Input((5, 3)), *layers])
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0.0, 0.4, w.shape) for w in model.get_weights()])
    x, y = inputs(rng, time=5), rng.normal(size=(2, 4)).astype(np.float32)
    results = {
        "flow": inspection.gradient_flow(model, x, y, "mse"),
        "trace": inspection.gate_activations(model, x),
    }
    return {
        f"{kind} {layer} {name}": value.ravel().tolist()
        for kind, layers in results.items()
        for layer, of in layers.items()
        for name, value in of.items()
    }
