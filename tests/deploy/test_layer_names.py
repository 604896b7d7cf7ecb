"""Names of layers that Keras takes on any backend, and TensorFlow not as the name of a scope."""

import keras
import numpy as np
import pytest
from kgated_edge import EdgeModel

import kgated
from kgated.deploy.tflite import flatbuffer
from kgated.errors import ConversionError


@pytest.mark.parametrize("name", ["my layer", "_hidden", "Schicht ä (2)"])
def test_a_layer_of_any_name_converts_and_can_be_skipped(name, rng, tmp_path):
    layer = kgated.GRU(4, name=name, return_sequences=True)
    model = keras.Sequential([keras.Input((None, 3)), layer, keras.layers.Dense(2, name="a b")])
    x = rng.normal(size=(1, 6, 3)).astype(np.float32)
    expected = np.asarray(model(x))[0]
    kgated.to_tflite(model, tmp_path / "m.tflite")
    edge = EdgeModel(tmp_path / "m.tflite")
    np.testing.assert_allclose(edge.run(x[0]), expected, atol=1e-5)
    assert not edge.manifest.states[0].name.startswith("_")
    kgated.to_tflite(model, tmp_path / "m.tflite", quantize="dynamic", skip=[name])
    np.testing.assert_allclose(EdgeModel(tmp_path / "m.tflite").run(x[0]), expected, atol=0.02)


def with_a_last_layer(last):
    """A model whose last layer, `last`, has no weights."""
    inputs = keras.Input((None, 4))
    h = kgated.GRU(4, return_sequences=True)(inputs)
    d = keras.layers.Dense(4)(h)
    merges = isinstance(last, keras.layers.Add | keras.layers.Concatenate)
    return keras.Model(inputs, {"last": last([d, h] if merges else d), "dense": d})


@pytest.mark.parametrize("kind", ["Softmax", "Add", "Concatenate"])
@pytest.mark.parametrize("mode", ["stream", "sequence"])
def test_a_layer_whose_only_operator_writes_a_result_can_be_skipped(kind, mode, rng, tmp_path):
    """The converter replaces the names of results, which were taken for the layers."""
    model = with_a_last_layer(getattr(keras.layers, kind)(name="mine"))
    length = {"length": 3} if mode == "sequence" else {}
    options = {"mode": mode, "quantize": "int8", "calibration": rng.normal(size=(4, 3, 4))}
    kgated.to_tflite(model, tmp_path / "m.tflite", skip=["mine"], **options, **length)
    content = flatbuffer.parse((tmp_path / "m.tflite").read_bytes())
    graph = flatbuffer.main_graph(content)
    names = {
        flatbuffer.operator_name(content, operator)
        for operator in graph.operators
        if flatbuffer.type_name(graph.tensors[operator.inputs[0]]) == "float32"
    }
    operator = {"Concatenate": "CONCATENATION"}.get(kind, kind.upper())
    assert operator in names


def test_a_layer_that_is_fused_into_another_is_refused_with_the_way_out(rng, tmp_path):
    model = keras.Sequential(
        [keras.Input((None, 4)), kgated.GRU(4), keras.layers.Dense(3), keras.layers.ReLU(name="r")]
    )
    with pytest.raises(ConversionError, match=r"no operator of their own .* \['r'\].*name that"):
        kgated.to_tflite(model, tmp_path / "m.tflite", quantize="dynamic", skip=["r"])
