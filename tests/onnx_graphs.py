"""ONNX models of one LSTM or GRU node."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

F, U, T, N = 3, 4, 6, 2
GATES = {"LSTM": 4, "GRU": 3}
STATES = {"LSTM": ["initial_h", "initial_c"], "GRU": ["initial_h"]}
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}


def arrays(op, d, rng, peepholes=False, state=False):
    """The tensors of a node with `d` directions."""
    n = GATES[op]
    shapes = {"W": (d, n * U, F), "R": (d, n * U, U), "B": (d, 2 * n * U)}
    shapes |= {"P": (d, 3 * U)} if peepholes else {}
    shapes |= dict.fromkeys(STATES[op] if state else [], (d, N, U))
    return {name: rng.normal(0.0, 0.7, shape).astype(np.float32) for name, shape in shapes.items()}


def graph(op, tensors, fed=(), **attributes):
    """A model of one node; `fed` names inputs that come at run time, with their element type."""
    order = ["X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"]
    have = {"X", *tensors, *fed}
    node_inputs = [name if name in have else "" for name in order[: 6 if op == "GRU" else 8]]
    outputs = ["Y", "Y_h", "Y_c"][: 1 + len(STATES[op])]
    node = helper.make_node(op, node_inputs, outputs, name="rnn", hidden_size=U, **attributes)
    kinds = {"X": TensorProto.FLOAT, **dict.fromkeys(fed, TensorProto.FLOAT)}
    if "sequence_lens" in kinds:
        kinds["sequence_lens"] = TensorProto.INT32
    proto = helper.make_graph(
        [node],
        "test",
        [helper.make_tensor_value_info(name, kind, None) for name, kind in kinds.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
