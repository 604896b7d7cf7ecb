"""What of ONNX our layers don't have, and the other way round, is refused by name."""

import keras
import numpy as np
import pytest
from onnx import helper
from onnx_graphs import F, U, arrays, graph

import kgated
from kgated.interop import from_onnx, from_onnx_node, to_onnx


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"clip": 3.0}, "`clip=3.0` of LSTM node 'rnn'"),
        ({"activations": ["Sigmoid", "Tanh", "Relu"]}, "'tanh'.*'relu'"),
        ({"activations": ["HardSigmoid", "Tanh", "Tanh"]}, r"'HardSigmoid' with \(0.2, 0.5\)"),
        ({"activations": ["ScaledTanh", "Tanh", "Tanh"]}, "ScaledTanh"),
        ({"activations": ["Relu", "Tanh", "Tanh"], "input_forget": 1}, "`input_forget=1`"),
    ],
    ids=str,
)
def test_what_our_layers_do_not_have_is_refused_by_name(attributes, message, rng):
    with pytest.raises(ValueError, match=message):
        from_onnx(graph("LSTM", arrays("LSTM", 1, rng), **attributes))


@pytest.mark.parametrize("name", ["W", "R", "B", "P", "initial_h", "initial_c"])
def test_a_wrong_shape_is_named_with_both_shapes(name, rng):
    tensors = arrays("LSTM", 1, rng, peepholes=True, state=True)
    shape = (*tensors[name].shape[:-1], tensors[name].shape[-1] + 1)
    if name == "W":
        shape = (1, 4 * U + 1, F)
    tensors[name] = np.zeros(shape, np.float32)
    message = rf"`{name}` of LSTM node 'rnn' must have shape \(.*\({', '.join(map(str, shape))}\)"
    with pytest.raises(ValueError, match=message):
        from_onnx(graph("LSTM", tensors))


def test_weights_that_the_graph_computes_are_refused(rng):
    tensors = arrays("LSTM", 1, rng)
    del tensors["R"]
    with pytest.raises(ValueError, match="`R` of LSTM node 'rnn' must be a constant"):
        from_onnx(graph("LSTM", tensors, fed=["R"]))


def test_a_model_without_recurrent_nodes_is_refused():
    model = helper.make_model(
        helper.make_graph([helper.make_node("Relu", ["X"], ["Y"])], "test", [], [])
    )
    with pytest.raises(ValueError, match=r"no LSTM or GRU node, only \['Relu'\]"):
        from_onnx(model)
    with pytest.raises(ValueError, match="Relu"):
        from_onnx_node(model.graph.node[0], {})


def test_what_onnx_does_not_have_is_refused_by_name(rng):
    layer = kgated.LSTM(U, activation="gelu")
    layer.build((None, None, F))
    with pytest.raises(ValueError, match="'gelu'"):
        to_onnx(layer)
    layer = kgated.LSTM(U)
    layer.build((None, None, F))
    with pytest.raises(ValueError, match=r"`initial_state` must be 2 arrays\. Received: 1"):
        to_onnx(layer, [np.zeros((1, U))])
    with pytest.raises(ValueError, match=r"`initial_state\[1\]`.*\(1, 4\).*\(1, 5\)"):
        to_onnx(layer, [np.zeros((1, U)), np.zeros((1, U + 1))])
    mixed = keras.layers.Bidirectional(
        kgated.GRU(U), backward_layer=kgated.GRU(U, use_bias=False, go_backwards=True)
    )
    mixed.build((None, None, F))
    with pytest.raises(ValueError, match="both directions"):
        to_onnx(mixed)
