"""What is taken out of a file, and that the file computes the same afterwards."""

import copy

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from handmade_files import Tensor, model, run

from kgated.deploy.tflite import cleanup, flatbuffer

SHAPE = (1, 3)
WEIGHTS = np.array([[0.5, -1.0, 2.0]], np.float32)


def without_unused(model):
    """The bytes of a model after dead tensors, buffers and operator codes are gone."""
    cleanup.eliminate_dead_code(model)
    return flatbuffer.pack(model)


def with_shared_subgraphs(content):
    parsed = flatbuffer.parse(content)
    cleanup.deduplicate_subgraphs(parsed)
    return parsed


def stripped(content):
    parsed = flatbuffer.parse(content)
    cleanup.strip(parsed)
    return parsed


def with_dead_parts():
    """A file that adds constants, from which a tanh with its constant has been taken out."""
    tensors = {
        "dead": Tensor(SHAPE, data=7 * WEIGHTS),
        "also dead": Tensor(SHAPE),
        "x": Tensor(SHAPE),
        "weights": Tensor(SHAPE, data=WEIGHTS),
        "cell/a/y": Tensor(SHAPE),
    }
    operators = [("TANH", ["dead"], ["also dead"]), ("ADD", ["x", "weights"], ["cell/a/y"])]
    parsed = model(tensors, operators, ["x"], ["cell/a/y"])
    del parsed.subgraphs[0].operators[0]
    return parsed


def test_dead_parts_go_and_the_rest_computes_the_same(rng):
    content = without_unused(with_dead_parts())
    left = flatbuffer.parse(content)
    names = [flatbuffer.tensor_name(tensor) for tensor in left.subgraphs[0].tensors]
    assert names == ["x", "weights", "cell/a/y"]
    assert (len(left.operatorCodes), len(left.buffers)) == (1, 2)
    x = rng.normal(size=SHAPE).astype(np.float32)
    np.testing.assert_array_equal(run(content, x=x)["y"], x + WEIGHTS)


def test_the_run_sees_an_index_that_was_not_moved_along(rng):
    parsed = with_dead_parts()
    cleanup.eliminate_dead_code(parsed)
    parsed.subgraphs[0].operators[0].inputs = np.array([0, 0], np.int32)  # x and not the weights
    x = rng.normal(size=SHAPE).astype(np.float32)
    assert np.abs(run(flatbuffer.pack(parsed), x=x)["y"] - (x + WEIGHTS)).max() > 0.1


def loops(constants):
    """A model with a WHILE for each constant, whose condition and body hold it."""
    tensors = {"x": Tensor(SHAPE), "y": Tensor(SHAPE)}
    parsed = model(tensors, [("ADD", ["x", "x"], ["y"])], ["x"], ["y"])
    main = parsed.subgraphs[0]
    code = flatbuffer.code_index(parsed, schema.BuiltinOperator.WHILE)
    for constant in constants:
        parsed.buffers.append(schema.BufferT(data=np.float32([constant]).view(np.uint8)))
        for _ in ("condition", "body"):
            graph = copy.deepcopy(main)
            graph.operators = copy.deepcopy(main.operators[:1])
            graph.tensors[0].buffer = len(parsed.buffers) - 1
            graph.tensors[1].name = f"loop_{len(parsed.subgraphs)}".encode()
            parsed.subgraphs.append(graph)
        parsed.subgraphs[-1].outputs = np.array([0], np.int32)  # a body is no condition
        options = schema.WhileOptionsT(len(parsed.subgraphs) - 2, len(parsed.subgraphs) - 1)
        operator = copy.deepcopy(main.operators[0])
        operator.opcodeIndex, operator.builtinOptions = code, options
        operator.builtinOptionsType = schema.BuiltinOptions.WhileOptions
        main.operators.append(operator)
    return flatbuffer.pack(parsed)


@pytest.mark.parametrize(
    ("constants", "bodies"), [((1, 1), [2, 2]), ((1, 2), [2, 4]), ((1, 2, 1), [2, 4, 2])]
)
def test_loops_share_subgraphs_that_are_equal_in_all_but_names(constants, bodies):
    shared = with_shared_subgraphs(loops(constants))
    loop_options = [o.builtinOptions for o in shared.subgraphs[0].operators[1:]]
    assert [options.bodySubgraphIndex for options in loop_options] == bodies
    assert [options.condSubgraphIndex for options in loop_options] == [n - 1 for n in bodies]
    assert len(shared.subgraphs) == 1 + 2 * len(set(constants))


def test_a_stripped_file_keeps_the_names_of_layers_and_computes_the_same(rng):
    parsed = with_dead_parts()
    parsed.buffers.append(schema.BufferT(data=np.zeros(4096, np.uint8)))
    notes = schema.MetadataT(name=b"CONVERSION_METADATA", buffer=len(parsed.buffers) - 1)
    manifest_entry = schema.MetadataT(name=b"kgated", buffer=len(parsed.buffers) - 1)
    parsed.metadata = [notes]
    content = flatbuffer.pack(parsed)
    left = stripped(content)
    assert left.metadata == []
    assert flatbuffer.tensor_name(left.subgraphs[0].tensors[-1]) == "cell"
    assert len(flatbuffer.pack(left)) < len(content) - 4096
    x = rng.normal(size=SHAPE).astype(np.float32)
    np.testing.assert_array_equal(run(flatbuffer.pack(left), x=x)["y"], x + WEIGHTS)
    parsed.metadata = [manifest_entry]
    assert [entry.name for entry in stripped(flatbuffer.pack(parsed)).metadata] == [b"kgated"]
