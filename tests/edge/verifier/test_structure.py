"""Graphs that were seen to kill the interpreter are refused before it reads them."""

import struct
from pathlib import Path

import pytest
from kgated_edge import EdgeModel, ManifestError, SequenceModel
from kgated_edge.format.tflite_file import field, tables, unsigned
from kgated_edge.verifier import flatbuffer_reader, structure
from kgated_edge.verifier.control_flow import check_calls, check_loops
from kgated_edge.verifier.flatbuffer_reader import Operator, Subgraph, Tensor
from kgated_edge.verifier.opcodes import Op, TensorType
from kgated_edge.verifier.operator_types import check_types
from kgated_edge.verifier.structure import check_structure

FLOAT32 = 0
MULTIPLIER = "the requantization multiplier of operator"
NOT_SPLIT = "is a SPLIT into another number"


def follow(content, at):
    return at + unsigned(content, at)


def subgraph(content):
    return tables(content, unsigned(content, 0), 2)[0]


def number(content, table, slot, form="<I"):
    at = field(content, table, slot)
    return struct.unpack_from(form, content, at)[0] if at else 0


def operator(content, code):
    """Where the first operator of a kind stands, by the schema's slots."""
    codes = tables(content, unsigned(content, 0), 1)
    kinds = [max(number(content, table, 0, "<b"), number(content, table, 3)) for table in codes]
    operators = tables(content, subgraph(content), 3)
    return next(table for table in operators if kinds[number(content, table, 0)] == code)


def input_place(code, place):
    """Where the number of an operator's input stands."""
    return lambda content: (
        follow(content, field(content, operator(content, code), 1)) + 4 + 4 * place
    )


def output_place(code, place=0):
    return lambda content: (
        follow(content, field(content, operator(content, code), 2)) + 4 + 4 * place
    )


def option(code, slot=0):
    def place(content):
        return field(content, follow(content, field(content, operator(content, code), 4)), slot)

    return place


def of_result(code, find):
    """A place in the tensor that an operator gives."""

    def place(content):
        number = unsigned(content, output_place(code)(content))
        return find(content, tables(content, subgraph(content), 0)[number])

    return place


def scale(content, tensor):
    return follow(content, field(content, follow(content, field(content, tensor, 4)), 2)) + 4


def zero_point(content, tensor):
    return follow(content, field(content, follow(content, field(content, tensor, 4)), 3)) + 4


def kind(content, tensor):
    return field(content, tensor, 1)


def shape(content, tensor):
    return follow(content, field(content, tensor, 0)) + 4


def slot(content, table, number):
    """Where a vtable says how far a field is from its table's start."""
    return table - struct.unpack_from("<i", content, table)[0] + 4 + 2 * number


def absent_scales(content):
    tensor = tables(content, subgraph(content), 0)[0]
    return follow(content, field(content, follow(content, field(content, tensor, 4)), 2))


BROKEN = [
    # operators, their inputs and outputs
    ("speech", "<I", option(Op.SPLIT), 5, NOT_SPLIT),
    ("speech", "<I", lambda c: output_place(Op.SPLIT)(c) - 4, 0, "has 2 inputs and 0 outputs"),
    (
        "speech",
        "<I",
        lambda c: input_place(Op.FULLY_CONNECTED, 0)(c) - 4,
        1,
        "has 1 inputs and 1 outputs",
    ),
    ("fixed", "<i", input_place(Op.STRIDED_SLICE, 3), -1, "has 4 inputs and 1 outputs"),
    (
        "speech",
        "<I",
        lambda c: field(c, operator(c, Op.SPLIT), 0),
        77,
        "refers to a code that does not exist",
    ),
    (
        "speech",
        "<B",
        lambda c: field(c, operator(c, Op.SPLIT), 3),
        0,
        "is a SPLIT into another number",
    ),
    # data flow
    ("speech", "<i", input_place(Op.TANH, 0), 10**6, "reads tensor 1000000 before it is written"),
    ("speech", "<i", input_place(Op.TANH, 0), -7, "reads tensor -7 before it is written"),
    ("speech", "<i", output_place(Op.TANH), 0, "writes tensor 0, which is written before"),
    ("speech", "<i", output_place(Op.TANH), -1, "writes tensor -1, which does not exist"),
    (
        "speech",
        "<i",
        lambda c: follow(c, field(c, subgraph(c), 1)) + 4,
        -1,
        "input is tensor -1",
    ),
    (
        "speech",
        "<i",
        lambda c: follow(c, field(c, subgraph(c), 2)) + 4,
        99,
        "output is tensor 99",
    ),
    ("speech", "<H", lambda c: slot(c, unsigned(c, 0), 2), 0, "it has no operators"),
    ("speech", "<H", lambda c: slot(c, subgraph(c), 3), 0, "nothing writes an output"),
    ("inside", "<i", input_place(Op.MUL, 0), 8, "reads a variable twice"),
    ("inside", "<I", option(Op.CALL_ONCE), 0, "call each other recursively"),
    # tensors
    (
        "speech",
        "<I",
        of_result(Op.TANH, lambda c, t: field(c, t, 2)),
        99,
        "buffer that does not",
    ),
    ("speech", "<I", of_result(Op.TANH, shape), 2**27, "has the shape"),
    ("speech", "<i", of_result(Op.TANH, shape), -1, "has the shape"),
    # integers
    ("int8", "<I", absent_scales, 0, "is int8 without scale and zero point"),
    ("int8", "<f", of_result(Op.ADD, scale), -1.0, "is int8 with scales from -1"),
    ("int8", "<f", of_result(Op.ADD, scale), float("nan"), "is int8 with scales from nan"),
    ("int16x8", "<f", of_result(Op.ADD, scale), 1e34, r"is int16 with scales from 1e\+34"),
    ("int16x8", "<f", of_result(Op.ADD, scale), 2e-38, "is int16 with scales from 2e-38"),
    ("int8", "<q", of_result(Op.ADD, zero_point), 128, "is int8 with zero points from 128"),
    (
        "int8",
        "<f",
        of_result(Op.FULLY_CONNECTED, scale),
        1e7,
        MULTIPLIER,
    ),
    (
        "int16x8",
        "<f",
        of_result(Op.ADD, scale),
        1e-9,
        MULTIPLIER,
    ),
    ("int8", "<B", of_result(Op.ADD, kind), FLOAT32, "an input of another type than its output"),
    ("int8", "<B", of_result(Op.ADD, kind), TensorType.STRING, "has the type STRING"),
    ("int8", "<f", option(Op.SOFTMAX), 0.0, r"requantization multiplier .* is out of range"),
    (
        "fixed",
        "<i",
        input_place(Op.STRIDED_SLICE, 1),
        0,
        "must be int32 or int64, a number per axis",
    ),
    ("int8", "<i", input_place(Op.ADD, 1), 6, r"requantization multiplier .* is out of range"),
    (
        "inside",
        "<B",
        of_result(Op.VAR_HANDLE, kind),
        FLOAT32,
        "a resource variable",
    ),
]


@pytest.mark.parametrize(("name", "form", "place", "value", "message"), BROKEN)
def test_graphs_that_would_end_the_process_are_refused(
    fixture_file, sign, tmp_path, name, form, place, value, message
):
    content = bytearray(fixture_file(name).read_bytes())
    check_structure(bytes(content))
    struct.pack_into(form, content, place(content), value)
    path = tmp_path / "m.tflite"
    path.write_bytes(sign(bytes(content)))
    runner = SequenceModel if name == "fixed" else EdgeModel
    with pytest.raises(ManifestError, match=f"its graph is invalid, .*{message}"):
        runner(path)


class Loop:
    """A graph that counts in a loop to a bound, as far as the checks look at it."""

    def __init__(self, counted=2, tested=0):
        numbers = [Tensor(2, (), has_data, False, None, None) for has_data in (0, 1, 0, 0)]
        count = Operator(Op.ADD, (0, 1), (2,), 0, 0)
        less = Operator(Op.LESS, (tested, 1), (3,), 0, 0)
        self.subgraphs = [
            Subgraph(numbers, (0,), (2,), [Operator(Op.WHILE, (0,), (2,), 0, 0)]),
            Subgraph(numbers, (0,), (3,), [less]),
            Subgraph(numbers, (0,), (counted,), [count]),
        ]
        self.called = (1, 2)

    def option(self, operator, slot):
        return self.called[slot]


def test_loops_that_cannot_end():
    check_loops(Loop())
    check_calls(Loop())
    # The counter comes back as it was; or as a constant; or another than it is tested.
    for stuck in (Loop(counted=0), Loop(counted=1), Loop(tested=1)):
        with pytest.raises(ManifestError, match="the condition of a WHILE loop never changes"):
            check_loops(stuck)
    by_flag = Loop()
    by_flag.subgraphs[1] = by_flag.subgraphs[1]._replace(outputs=(0,), operators=[])
    check_loops(by_flag)
    lost = Loop()
    lost.called = (1, 9)
    with pytest.raises(ManifestError, match="refers to a subgraph that does not exist"):
        check_loops(lost)
    lost.called = (1, 0)
    with pytest.raises(ManifestError, match="call each other recursively"):
        check_calls(lost)


def test_an_lstm_needs_its_tensors():
    full = tuple(range(24))
    check_operator = structure._check_operator
    for missing, is_good in (
        *((set(), True), ({1, 5, 12}, True), ({9, 10, 11}, True), ({16, 17, 20, 21}, True)),
        *(({12}, False), ({1, 5}, False), ({13}, False), ({18}, False), ({0}, False)),
    ):
        inputs = tuple(-1 if tensor in missing else tensor for tensor in full)
        operator = Operator(Op.UNIDIRECTIONAL_SEQUENCE_LSTM, inputs, (30,), 0, 0)
        if is_good:
            check_operator(Loop(), operator, 0)
            continue
        with pytest.raises(ManifestError, match="operator 0 "):
            check_operator(Loop(), operator, 0)


def test_scales_of_a_squared_difference():
    def tensor(scale):
        return Tensor(9, (1, 4), False, False, (scale, scale, 1), (0, 0, 1))

    operator = Operator(Op.SQUARED_DIFFERENCE, (0, 1), (2,), 0, 0)
    check_types(Loop(), operator, [tensor(0.03), tensor(0.03), tensor(0.05)], 0)
    # (2 · 1e4)² / (2^14 · 0.05) is above 1.
    with pytest.raises(ManifestError, match=MULTIPLIER):
        check_types(Loop(), operator, [tensor(0.03), tensor(1e4), tensor(0.05)], 0)


def test_reading_of_shared_vectors_is_limited(speech, monkeypatch):
    content = speech.read_bytes()
    check_structure(content)
    monkeypatch.setattr(flatbuffer_reader, "_MAX_ITEMS_PER_BYTE", 0.1)
    with pytest.raises(ManifestError, match="an offset points outside of the file"):
        check_structure(content)


def test_every_fixture_passes():
    for path in (Path(__file__).parents[1] / "fixtures").glob("*.tflite"):
        check_structure(path.read_bytes())
