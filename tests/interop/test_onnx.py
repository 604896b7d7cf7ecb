"""ONNX LSTM and GRU nodes to our layers and back, against ONNX Runtime."""

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from onnx_graphs import DIRECTIONS, GATES, STATES, F, N, T, U, arrays, graph
from registry import ROWS, inputs, values, weights_of

import kgated
from kgated.interop import from_onnx, from_onnx_node, to_onnx


def run(model, x, **fed):
    """ONNX Runtime's Y, as (N, T, D·U), and its final states."""
    session = onnxruntime.InferenceSession(model.SerializeToString())
    y, *states = session.run(None, {"X": x.transpose(1, 0, 2), **fed})
    return y.transpose(2, 0, 1, 3).reshape(len(x), x.shape[1], -1), states


def forwards(layer, sequences):
    """A layer's outputs in the order of its input, as ONNX has them."""
    sequences = values(sequences)
    return sequences[:, ::-1] if getattr(layer, "go_backwards", False) else sequences


def distance(actual, x, expected, **call):
    return np.abs(forwards(actual.layer, actual.layer(x, **call)) - expected).max()


NODES = [
    ("LSTM", {}, {}),
    ("LSTM", {"peepholes": True}, {}),
    ("LSTM", {}, {"input_forget": 1}),
    ("LSTM", {"peepholes": True}, {"input_forget": 1}),
    ("LSTM", {}, {"activations": ["HardSigmoid", "Softsign", "Softsign"]}),
    ("GRU", {}, {}),
    ("GRU", {}, {"linear_before_reset": 1}),
    ("GRU", {}, {"activations": ["HardSigmoid", "LeakyRelu"], "linear_before_reset": 1}),
]
SCALES = {
    ("HardSigmoid", "Softsign", "Softsign"): {
        "activation_alpha": [1 / 6],
        "activation_beta": [0.5],
    },
    ("HardSigmoid", "LeakyRelu"): {"activation_alpha": [1 / 6, 0.2], "activation_beta": [0.5]},
}


def attributes_for(attributes, direction):
    """The attributes, those of activations once for each direction."""
    d = DIRECTIONS[direction]
    scales = SCALES.get(tuple(attributes.get("activations", ())), {})
    repeated = {k: v * d if isinstance(v, list) else v for k, v in (attributes | scales).items()}
    return {"direction": direction, **repeated}


@pytest.mark.parametrize("update_gate", ["state", "candidate"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("op", "with_", "attributes"), NODES, ids=str)
def test_our_layer_computes_what_the_node_computes(
    op, with_, attributes, direction, update_gate, rng
):
    tensors = arrays(op, DIRECTIONS[direction], rng, **with_)
    model = graph(op, tensors, **attributes_for(attributes, direction))
    x = inputs(rng, N, T, F)
    (actual,) = from_onnx(model, update_gate=update_gate)
    assert (actual.initial_state, actual.at_run_time) == (None, ())
    expected, _ = run(model, x)
    assert distance(actual, x, expected) < 2e-6
    assert distance(actual, -x, expected) > 1e-2


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("op", "with_", "attributes"), NODES, ids=str)
def test_our_model_computes_what_our_layer_computes_and_returns_the_same_bits(
    op, with_, attributes, direction, rng
):
    tensors = arrays(op, DIRECTIONS[direction], rng, **with_)
    (first,) = from_onnx(graph(op, tensors, **attributes_for(attributes, direction)))
    model = to_onnx(first.layer)
    onnx.checker.check_model(model, full_check=True)
    (again,) = from_onnx(model)
    assert type(again.layer) is type(first.layer)
    for item, returned in zip(first.layer.get_weights(), again.layer.get_weights(), strict=True):
        np.testing.assert_array_equal(item, returned)
    x = inputs(rng, N, T, F)
    assert distance(first, x, run(model, x)[0]) < 2e-6


def refusal(row):
    """The option that the error must name, or None where ONNX has the row."""
    for option in ("projection_units", "layer_norm", "output_peephole", "peephole"):
        if row.options.get(option):
            return "peephole" if "peephole" in option else option
    return None


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_each_row_becomes_a_node_or_is_refused_by_name(row, rng):
    layer = row.build(rng, return_sequences=True)
    if not row.recurrent:
        with pytest.raises(TypeError, match=f"Received: <{row.layer.__name__}"):
            to_onnx(layer)
        return
    if word := refusal(row):
        with pytest.raises(ValueError, match=word):
            to_onnx(layer)
        return
    x = inputs(rng)
    expected, final = row.oracle(x, weights_of(layer))
    y, states = run(to_onnx(layer), x)
    assert np.abs(y - expected).max() < 1e-6
    for reference, gated in zip(states, final, strict=True):
        assert np.abs(reference[0] - gated).max() < 1e-6


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("op", GATES)
def test_a_constant_initial_state_goes_both_ways(op, direction, rng):
    tensors = arrays(op, DIRECTIONS[direction], rng, state=True)
    model = graph(op, tensors, direction=direction)
    (actual,) = from_onnx(model)
    x = inputs(rng, N, T, F)
    expected, _ = run(model, x)
    assert distance(actual, x, expected, initial_state=actual.initial_state) < 2e-6
    assert distance(actual, x, expected) > 1e-2
    again = to_onnx(actual.layer, actual.initial_state)
    assert np.abs(run(again, x)[0] - expected).max() < 2e-6


@pytest.mark.parametrize("layer", [kgated.GRU, kgated.PeepholeLSTM], ids=["GRU", "PeepholeLSTM"])
def test_a_caller_may_carry_the_state_from_frame_to_frame(layer, rng):
    layer = layer(U, return_sequences=True)
    x = inputs(rng, 1, T, F)
    expected = values(layer(x))
    model = to_onnx(layer, state_inputs=True)
    onnx.checker.check_model(model, full_check=True)
    names = [item.name for item in model.graph.input[1:]]
    assert names == STATES[model.graph.node[0].op_type]
    states = [np.zeros((1, 1, U), np.float32) for _ in names]
    for t in range(T):
        y, states = run(model, x[:, t : t + 1], **dict(zip(names, states, strict=True)))
        assert np.abs(y[:, 0] - expected[:, t]).max() < 1e-6
    with pytest.raises(ValueError, match="state_inputs"):
        to_onnx(layer, states, state_inputs=True)


def test_half_an_initial_state_is_filled_with_zeros(rng):
    tensors = arrays("LSTM", 1, rng, state=True)
    del tensors["initial_h"]
    model = graph("LSTM", tensors)
    (actual,) = from_onnx(model)
    x = inputs(rng, N, T, F)
    assert distance(actual, x, run(model, x)[0], initial_state=actual.initial_state) < 2e-6


def test_what_comes_at_run_time_is_named_and_is_the_layers_own_argument(rng):
    fed = arrays("LSTM", 1, rng, state=True)
    tensors = {name: fed.pop(name) for name in ("W", "R", "B")}
    model = graph("LSTM", tensors, fed=["sequence_lens", *fed])
    (actual,) = from_onnx(model)
    assert actual.at_run_time == ("sequence_lens", "initial_h", "initial_c")
    x, lengths = inputs(rng, N, T, F), np.array([T, 2], np.int32)
    expected, _ = run(model, x, sequence_lens=lengths, **fed)
    call = {"initial_state": [fed["initial_h"][0], fed["initial_c"][0]]}
    mask = np.arange(T) < lengths[:, None]
    assert distance(actual, x, expected, mask=mask, **call) < 2e-6
    assert distance(actual, x, expected, **call) > 1e-2


def test_layout_1_is_read_too(rng):
    tensors = arrays("GRU", 1, rng, state=True)
    time_first = graph("GRU", tensors)
    tensors["initial_h"] = tensors["initial_h"].transpose(1, 0, 2)
    (actual,) = from_onnx(graph("GRU", tensors, layout=1))
    x = inputs(rng, N, T, F)
    expected, _ = run(time_first, x)
    assert distance(actual, x, expected, initial_state=actual.initial_state) < 2e-6


def test_a_node_and_its_constants_will_do_and_b_may_be_missing(rng):
    tensors = arrays("LSTM", 1, rng)
    del tensors["B"]
    model = graph("LSTM", tensors)
    actual = from_onnx_node(model.graph.node[0], tensors, return_sequences=False)
    assert not actual.layer.use_bias
    x = inputs(rng, N, T, F)
    assert np.abs(values(actual.layer(x)) - run(model, x)[0][:, -1]).max() < 2e-6


def test_all_nodes_of_a_graph_come_in_its_order_and_constants_may_be_nodes(rng):
    model = graph("GRU", arrays("GRU", 1, rng))
    (w,) = [item for item in model.graph.initializer if item.name == "W"]
    model.graph.initializer.remove(w)
    model.graph.node.insert(0, helper.make_node("Constant", [], ["W"], value=w))
    second = graph("LSTM", arrays("LSTM", 1, rng)).graph
    for item in second.initializer:
        item.name = f"second_{item.name}"
    second.node[0].input[:] = [name and f"second_{name}" for name in second.node[0].input]
    model.graph.node.extend(second.node)
    model.graph.initializer.extend(second.initializer)
    kinds = [type(actual.layer) for actual in from_onnx(model)]
    assert kinds == [kgated.GRU, kgated.LSTM]


def test_a_layer_of_keras_becomes_a_model(rng):
    stock = keras.layers.Bidirectional(keras.layers.GRU(U, return_sequences=True))
    x = inputs(rng)
    expected = values(stock(x))
    assert np.abs(run(to_onnx(stock), x)[0] - expected).max() < 1e-6


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_the_dtype_stays(dtype, rng):
    tensors = {name: a.astype(dtype) for name, a in arrays("GRU", 1, rng).items()}
    (actual,) = from_onnx(graph("GRU", tensors))
    assert actual.layer.cell.kernel.dtype == dtype
    back = {
        item.name: numpy_helper.to_array(item) for item in to_onnx(actual.layer).graph.initializer
    }
    np.testing.assert_array_equal(back["W"], tensors["W"])
    assert back["B"].dtype == dtype
