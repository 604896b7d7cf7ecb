"""An engine that knows nothing of us: ONNX Runtime's LSTM and GRU, with the same weights."""

import numpy as np
import pytest
from onnx import TensorProto, checker, helper, numpy_helper
from registry import BATCH, FEATURES, TIME, UNITS, Row, inputs, values, weights_of

import kgated

onnxruntime = pytest.importorskip("onnxruntime")
TOLERANCE = 1e-6


def gates(fused, gated, reference):
    """Fused columns in our order of gates, as ONNX's rows in its order."""
    columns = dict(zip(gated, np.split(fused, len(gated), axis=-1), strict=True))
    return np.concatenate([columns[gate] for gate in reference], axis=-1).T


def run_onnx(op, x, weights, **attributes):
    """The op over x (B, T, F) in ONNX Runtime: outputs (B, T, U)."""
    tensors = {name: w[None].astype(np.float32) for name, w in weights.items()}
    names = ["X", "W", "R", "B", "", "", "", "P"] if "P" in weights else ["X", "W", "R", "B"]
    node = helper.make_node(op, names, ["Y"], hidden_size=UNITS, **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [TIME, BATCH, FEATURES])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [TIME, 1, BATCH, UNITS])],
        [numpy_helper.from_array(w, name) for name, w in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (y,) = session.run(None, {"X": np.ascontiguousarray(x.transpose(1, 0, 2))})
    return y[:, 0].transpose(1, 0, 2)


def lstm_to_onnx(weights):
    bias = gates(weights["bias"], "ifgo", "iofg")
    tensors = {
        "W": gates(weights["kernel"], "ifgo", "iofg"),
        "R": gates(weights["recurrent_kernel"], "ifgo", "iofg"),
        "B": np.concatenate([bias, np.zeros_like(bias)]),
    }
    if "peephole_kernel" in weights:
        i, f, o = weights["peephole_kernel"]
        tensors["P"] = np.concatenate([i, o, f])
    return tensors


def gru_to_onnx(weights):
    bias = np.atleast_2d(weights["bias"])
    rows = [gates(b, "zrh", "zrh") for b in (*bias, np.zeros(bias.shape[-1]))[:2]]
    return {
        "W": gates(weights["kernel"], "zrh", "zrh"),
        "R": gates(weights["recurrent_kernel"], "zrh", "zrh"),
        "B": np.concatenate(rows),
    }


CASES = [
    pytest.param(Row(kgated.LSTM), lstm_to_onnx, {}, id="LSTM"),
    pytest.param(Row(kgated.PeepholeLSTM), lstm_to_onnx, {}, id="PeepholeLSTM"),
    pytest.param(Row(kgated.GRU, {"update_gate": "state"}), gru_to_onnx, {}, id="GRU-before"),
    pytest.param(
        Row(kgated.GRU, {"update_gate": "state", "reset_after": True}),
        gru_to_onnx,
        {"linear_before_reset": 1},
        id="GRU-after",
    ),
]


@pytest.mark.parametrize(("row", "to_onnx", "attributes"), CASES)
def test_layer_equals_onnx_runtime(row, to_onnx, attributes, rng):
    x = inputs(rng)
    layer = row.build(rng, return_sequences=True)
    weights = to_onnx(weights_of(layer))
    expected = run_onnx(type(layer).__name__.removeprefix("Peephole"), x, weights, **attributes)
    np.testing.assert_allclose(values(layer(x)), expected, rtol=0, atol=TOLERANCE)


def test_tolerance_sees_two_peepholes_swapped(rng):
    x = inputs(rng)
    layer = Row(kgated.PeepholeLSTM).build(rng, return_sequences=True)
    weights = weights_of(layer)
    weights["peephole_kernel"] = weights["peephole_kernel"][[2, 1, 0]]
    wrong = run_onnx("LSTM", x, lstm_to_onnx(weights))
    assert np.abs(values(layer(x)) - wrong).max() > 1e3 * TOLERANCE


def test_output_peephole_of_onnx_is_the_current_one(rng):
    x = inputs(rng)
    layer = Row(kgated.PeepholeLSTM, {"output_peephole": "previous"}).build(
        rng, return_sequences=True
    )
    current = run_onnx("LSTM", x, lstm_to_onnx(weights_of(layer)))
    assert np.abs(values(layer(x)) - current).max() > 1e3 * TOLERANCE
