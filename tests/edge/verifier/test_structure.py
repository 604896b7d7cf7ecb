"""Graphs that were seen to kill the interpreter are refused before it sees them."""

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kgated_edge import EdgeError, EdgeModel, ManifestError, SequenceModel, SessionPool
from kgated_edge.format.tflite_file import field, tables, unsigned
from kgated_edge.verifier import flatbuffer_reader, structure
from kgated_edge.verifier.control_flow import check_calls, check_loops
from kgated_edge.verifier.flatbuffer_reader import Operator, Subgraph, Tensor
from kgated_edge.verifier.operator_types import check_types
from kgated_edge.verifier.structure import check_structure

ADD, SPLIT, FULLY_CONNECTED, SOFTMAX, TANH, STRIDED_SLICE = 0, 49, 9, 25, 28, 45
MUL, LSTM, LESS, WHILE, CALL_ONCE, VAR_HANDLE = 18, 44, 58, 119, 129, 142
SQUARED_DIFFERENCE = 99
FLOAT, TEXT = 0, 5


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
    kinds = [max(number(content, one, 0, "<b"), number(content, one, 3)) for one in codes]
    operators = tables(content, subgraph(content), 3)
    return next(one for one in operators if kinds[number(content, one, 0)] == code)


def taken(code, place):
    """Where the number of an operator's input stands."""
    return lambda content: (
        follow(content, field(content, operator(content, code), 1)) + 4 + 4 * place
    )


def given(code, place=0):
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
        number = unsigned(content, given(code)(content))
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
    # operators and what they take and give
    ("speech", "<I", option(SPLIT), 5, "splits into another number"),
    ("speech", "<I", lambda c: given(SPLIT)(c) - 4, 0, "takes 2 tensors and gives 0"),
    ("speech", "<I", lambda c: taken(FULLY_CONNECTED, 0)(c) - 4, 1, "takes 1 tensors and gives 1"),
    ("fixed", "<i", taken(STRIDED_SLICE, 3), -1, "takes 4 tensors and gives 1"),
    (
        "speech",
        "<I",
        lambda c: field(c, operator(c, SPLIT), 0),
        77,
        "a kind that the file does not",
    ),
    ("speech", "<B", lambda c: field(c, operator(c, SPLIT), 3), 0, "splits into another number"),
    # the way of the numbers
    ("speech", "<i", taken(TANH, 0), 10**6, "which nothing has filled"),
    ("speech", "<i", taken(TANH, 0), -7, "which nothing has filled"),
    ("speech", "<i", given(TANH), 0, "gives tensor 0, which is filled already"),
    ("speech", "<i", given(TANH), -1, "gives tensor -1, which is filled already"),
    ("speech", "<i", lambda c: follow(c, field(c, subgraph(c), 1)) + 4, -1, "takes tensor -1"),
    ("speech", "<i", lambda c: follow(c, field(c, subgraph(c), 2)) + 4, 99, "gives tensor 99"),
    ("speech", "<H", lambda c: slot(c, unsigned(c, 0), 2), 0, "it has no operators"),
    ("speech", "<H", lambda c: slot(c, subgraph(c), 3), 0, "gives a tensor that nothing fills"),
    ("inside", "<i", taken(MUL, 0), 8, "takes a variable twice"),
    ("inside", "<I", option(CALL_ONCE), 0, "call each other in a circle"),
    # tensors
    ("speech", "<I", of_result(TANH, lambda c, t: field(c, t, 2)), 99, "a buffer that the file"),
    ("speech", "<I", of_result(TANH, shape), 2**27, "is of the shape"),
    ("speech", "<i", of_result(TANH, shape), -1, "is of the shape"),
    # integers
    ("int8", "<I", absent_scales, 0, "is int8 without scale and zero point"),
    ("int8", "<f", of_result(ADD, scale), -1.0, "is int8 of scale -1"),
    ("int8", "<f", of_result(ADD, scale), float("nan"), "is int8 of scale nan"),
    ("int16x8", "<f", of_result(ADD, scale), 1e34, "is int16 of scale 1e[+]34"),
    ("int16x8", "<f", of_result(ADD, scale), 2e-38, "is int16 of scale 2e-38"),
    ("int8", "<q", of_result(ADD, zero_point), 128, "is int8 of zero point 128"),
    ("int8", "<f", of_result(FULLY_CONNECTED, scale), 1e7, "no multiplier stands for"),
    ("int16x8", "<f", of_result(ADD, scale), 1e-9, "no multiplier stands for"),
    ("int8", "<B", of_result(ADD, kind), FLOAT, "takes other types than it gives"),
    ("int8", "<B", of_result(ADD, kind), TEXT, "is of text"),
    ("int8", "<f", option(SOFTMAX), 0.0, "no multiplier stands for"),
    ("fixed", "<i", taken(STRIDED_SLICE, 1), 0, "other numbers than one for each axis"),
    ("int8", "<i", taken(ADD, 1), 6, "no multiplier stands for"),
    ("inside", "<B", of_result(VAR_HANDLE, kind), FLOAT, "is of a variable, and names none"),
]


@pytest.mark.parametrize(("name", "form", "place", "value", "message"), BROKEN)
def test_graphs_that_would_kill_are_refused(
    fixture_file, sign, tmp_path, name, form, place, value, message
):
    content = bytearray(fixture_file(name).read_bytes())
    check_structure(bytes(content))
    struct.pack_into(form, content, place(content), value)
    path = tmp_path / "m.tflite"
    path.write_bytes(sign(bytes(content)))
    runner = SequenceModel if name == "fixed" else EdgeModel
    with pytest.raises(ManifestError, match=f"its graph is broken, .*{message}"):
        runner(path)


class Loop:
    """A graph that counts in a loop to a bound, as far as the checks look at it."""

    def __init__(self, counted=2, tested=0):
        numbers = [Tensor(2, (), has_data, False, None, None) for has_data in (0, 1, 0, 0)]
        count = Operator(ADD, (0, 1), (2,), 0, 0)
        less = Operator(LESS, (tested, 1), (3,), 0, 0)
        self.subgraphs = [
            Subgraph(numbers, (0,), (2,), [Operator(WHILE, (0,), (2,), 0, 0)]),
            Subgraph(numbers, (0,), (3,), [less]),
            Subgraph(numbers, (0,), (counted,), [count]),
        ]
        self.called = (1, 2)

    def number(self, operator, slot):
        return self.called[slot]


def test_loops_without_an_end():
    check_loops(Loop())
    check_calls(Loop())
    # The counter comes back as it was; or as a constant; or another than it is tested.
    for stuck in (Loop(counted=0), Loop(counted=1), Loop(tested=1)):
        with pytest.raises(ManifestError, match="a loop has no end"):
            check_loops(stuck)
    by_flag = Loop()
    by_flag.subgraphs[1] = by_flag.subgraphs[1]._replace(outputs=(0,), operators=[])
    check_loops(by_flag)
    lost = Loop()
    lost.called = (1, 9)
    with pytest.raises(ManifestError, match="of a subgraph that the file does not have"):
        check_loops(lost)
    lost.called = (1, 0)
    with pytest.raises(ManifestError, match="call each other in a circle"):
        check_calls(lost)


def test_an_lstm_needs_its_tensors():
    whole = tuple(range(24))
    check_operator = structure._check_operator
    for missing, is_good in (
        *((set(), True), ({1, 5, 12}, True), ({9, 10, 11}, True), ({16, 17, 20, 21}, True)),
        *(({12}, False), ({1, 5}, False), ({13}, False), ({18}, False), ({0}, False)),
    ):
        inputs = tuple(-1 if one in missing else one for one in whole)
        operator = Operator(LSTM, inputs, (30,), 0, 0)
        if is_good:
            check_operator(Loop(), operator, 0)
            continue
        with pytest.raises(ManifestError, match="operator 0 "):
            check_operator(Loop(), operator, 0)


def test_scales_of_differences_squared():
    def of(scale):
        return Tensor(9, (1, 4), False, False, (scale, scale, 1), (0, 0, 1))

    operator = Operator(SQUARED_DIFFERENCE, (0, 1), (2,), 0, 0)
    check_types(Loop(), operator, [of(0.03), of(0.03), of(0.05)], 0)
    # (2 · 1e4)² / (2^14 · 0.05) is above 1.
    with pytest.raises(ManifestError, match="no multiplier stands for"):
        check_types(Loop(), operator, [of(0.03), of(1e4), of(0.05)], 0)


def test_what_the_interpreter_refuses_in_a_step_is_an_error_of_ours(fixture_file, monkeypatch):
    def fails():
        raise RuntimeError("gather index out of bounds\nNode number 5 failed to invoke.")

    model = EdgeModel(fixture_file("text"))
    model.step(1)
    before = model.state
    (hot,) = model._idle
    model._idle[0] = (hot[0], fails, *hot[2:])
    with pytest.raises(EdgeError, match="cannot run this model: gather index out of bounds Node"):
        model.step(1)
    assert all((model.state[name] == value).all() for name, value in before.items())


def test_what_shares_long_vectors_is_not_read_for_hours(speech, monkeypatch):
    content = speech.read_bytes()
    check_structure(content)
    monkeypatch.setattr(flatbuffer_reader, "_MOST_READ", 0.1)
    with pytest.raises(ManifestError, match="an offset leads out of the file"):
        check_structure(content)


@pytest.mark.parametrize("name", ["speech", "whole"])
def test_a_failing_step_of_other_runners_is_an_error_too(fixture_file, name):
    class Failing:
        def invoke(self):
            raise RuntimeError("Division by 0")

    frames = np.zeros((9, 3), np.float32)
    if name == "whole":
        model = SequenceModel(fixture_file(name))
        bound = model._binding  # keeps the real interpreter, whose memory the frames are written to
        model._binding = replace(bound, interpreter=Failing())
        with pytest.raises(EdgeError, match="cannot run this model: Division by 0"):
            model.run(frames)
        return
    pool = SessionPool(fixture_file(name))
    sessions = [pool.open() for _ in frames]
    before = [session._kept for session in sessions]
    hot = pool._idle[0]
    pool._idle[0] = (*hot[:2], Failing().invoke, *hot[3:])
    for act in (lambda: pool.step(sessions, frames), lambda: sessions[0].step(frames[0])):
        with pytest.raises(EdgeError, match="cannot run this model: Division by 0"):
            act()
    assert [session._kept for session in sessions] == before


def test_the_structure_of_every_fixture_is_sound():
    for path in (Path(__file__).parents[1] / "fixtures").glob("*.tflite"):
        check_structure(path.read_bytes())
