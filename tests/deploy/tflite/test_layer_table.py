"""The table of layers beside a file."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.quantization.rewrites.float_rewrites import FOR_INT16, rewrite_operators
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.cleanup import strip
from kgated.deploy.tflite.float_file import FloatFile
from kgated.deploy.tflite.layer_table import LayerTable, scope_name


@pytest.fixture
def model():
    """TANH of layer `a`, a SQUARED_DIFFERENCE without a name, a TANH of layer `b`."""
    names = [b"x", b"a/Tanh;b/more", b"unnamed", b"b/Tanh"]
    model = schema.ModelT(version=3, buffers=[schema.BufferT()], operatorCodes=[], signatureDefs=[])
    tensors = [schema.TensorT(name=name, shape=np.array([1, 2], np.int32)) for name in names]
    codes = schema.BuiltinOperator
    operators = [
        schema.OperatorT(
            opcodeIndex=flatbuffer.code_index(model, code), inputs=inputs, outputs=[output]
        )
        for code, inputs, output in (
            (codes.TANH, [0], 1),
            (codes.SQUARED_DIFFERENCE, [1, 1], 2),
            (codes.TANH, [2], 3),
        )
    ]
    graph = schema.SubGraphT(tensors=tensors, inputs=[0], outputs=[3], operators=operators)
    model.subgraphs = [graph]
    return model


def layers_of(model, table):
    (graph,) = model.subgraphs
    return [table.layer(graph, operator) for operator in graph.operators]


def test_names_give_the_layer_of_an_operator_or_that_of_its_input(model):
    assert layers_of(model, LayerTable.from_names(model)) == ["a", "a", "b"]


def test_a_pass_that_adds_an_operator_adds_it_to_the_table(model):
    file = FloatFile(model, LayerTable.from_names(model))
    rewrite_operators(file, FOR_INT16)
    names = [flatbuffer.operator_name(model, o) for _, o in flatbuffer.operators(model)]
    assert names == ["TANH", "SUB", "MUL", "TANH"]
    assert layers_of(model, file.layers) == ["a", "a", "a", "b"]


def test_the_table_goes_through_another_process(model):
    table = LayerTable.from_names(model)
    assert layers_of(model, LayerTable(table.as_dict())) == layers_of(model, table)


def test_strip_removes_what_the_table_is_read_from(model):
    """Why the table is read before: afterwards names say less."""
    table = LayerTable.from_names(model)
    strip(model)
    assert layers_of(model, LayerTable.from_names(model)) != layers_of(model, table)
    assert [flatbuffer.tensor_name(t) for t in model.subgraphs[0].tensors][1] == "a"


def test_a_clone_is_changed_apart(model):
    clone = flatbuffer.clone(model)
    strip(clone)
    clone.subgraphs[0].operators.pop()
    assert flatbuffer.tensor_name(model.subgraphs[0].tensors[1]) == "a/Tanh;b/more"
    assert len(model.subgraphs[0].operators) == 3


def test_a_scope_has_no_characters_that_tensorflow_refuses():
    assert scope_name("dense in/1") == "dense_in_1"
