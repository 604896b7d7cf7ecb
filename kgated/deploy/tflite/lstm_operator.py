"""Writes the builtin operator UNIDIRECTIONAL_SEQUENCE_LSTM over its marker in a converted graph."""

from typing import TypeAlias

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from kgated.deploy.tflite.flatbuffer import operator_code

MARKER = "kgated_fused_lstm"  # the custom operator that stands in for it until `write_fused`
LSTM_CODE = schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM
INPUTS = 24

# The operator's constant inputs by what they are and their gate: i, f, g (the cell's), o.
Slot: TypeAlias = int
SLOTS: dict[tuple[str, str], Slot] = {
    **{("input", gate): 1 + n for n, gate in enumerate("ifgo")},
    **{("recurrent", gate): 5 + n for n, gate in enumerate("ifgo")},
    **{("peephole", gate): 9 + n for n, gate in enumerate("ifo")},
    **{("bias", gate): 12 + n for n, gate in enumerate("ifgo")},
    ("projection", "h"): 16,
    **{("layer_norm", gate): 20 + n for n, gate in enumerate("ifgo")},
}
H_STATE, C_STATE = 18, 19


def write_fused(model: schema.ModelT) -> None:
    """Put the builtin operator in place of each marker that `FusedLSTM` left in a converted graph.

    The states become variable tensors. Runtimes keep those from one call to the next, so an
    operator before each LSTM sets them to zero: every call of the signature starts afresh.

    Args:
        model: a float file, converted with `allow_custom_ops`; without markers it stays as it is.
    """
    codes = [code.customCode for code in model.operatorCodes]
    if MARKER.encode() not in codes:
        return
    marker = codes.index(MARKER.encode())
    model.operatorCodes[marker] = operator_code(LSTM_CODE, 1)
    zeros = _add_code(model, operator_code(schema.BuiltinOperator.ZEROS_LIKE, 1))
    for graph in model.subgraphs:
        operators = []
        for operator in graph.operators:
            if operator.opcodeIndex == marker:
                _become_lstm(graph, operator)
                operators += [_zeroing(zeros, operator.inputs[s]) for s in (H_STATE, C_STATE)]
            operators.append(operator)
        graph.operators = operators


def _add_code(model: schema.ModelT, code: schema.OperatorCodeT) -> int:
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _become_lstm(graph: schema.SubGraphT, operator: schema.OperatorT) -> None:
    """The marker's operands go to their slots, the states to new variable tensors."""
    options = flexbuffers.Loads(bytes(operator.customOptions))
    name, slots = options["layer"], options["slots"]
    inputs = np.full(INPUTS, -1, np.int32)
    inputs[0] = operator.inputs[0]
    inputs[[int(slot) for slot in slots.split(",")]] = operator.inputs[1:]
    batch = int(graph.tensors[inputs[0]].shape[0])
    output = graph.tensors[operator.outputs[0]]
    units = int(graph.tensors[inputs[SLOTS["bias", "f"]]].shape[0])
    # Names are unique, and start with the layer's, by which later stages find their way.
    number = operator.outputs[0]
    output.name = f"{name}/output_{number}".encode()
    inputs[H_STATE] = _variable(graph, f"{name}/h_{number}", (batch, int(output.shape[-1])))
    inputs[C_STATE] = _variable(graph, f"{name}/c_{number}", (batch, units))
    operator.inputs = inputs
    operator.customOptions = None
    operator.builtinOptionsType = schema.BuiltinOptions.UnidirectionalSequenceLSTMOptions
    operator.builtinOptions = schema.UnidirectionalSequenceLSTMOptionsT(
        fusedActivationFunction=schema.ActivationFunctionType.TANH
    )


def _variable(graph: schema.SubGraphT, name: str, shape: tuple[int, int]) -> int:
    tensor = schema.TensorT(
        name=name.encode(), shape=list(shape), type=schema.TensorType.FLOAT32, isVariable=True
    )
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _zeroing(code: int, state: int) -> schema.OperatorT:
    return schema.OperatorT(
        opcodeIndex=code,
        inputs=[state],
        outputs=[state],
        builtinOptionsType=schema.BuiltinOptions.ZerosLikeOptions,
        builtinOptions=schema.ZerosLikeOptionsT(),
    )
