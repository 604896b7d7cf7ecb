"""A fault in a quantized file is refused, whatever its outputs say of it."""

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from kgated_edge import EdgeModel
from model_builders import classifier, spread

import kgated
from kgated import steps
from kgated.deploy.lowering.converter import lower
from kgated.deploy.manifest_writer import embed
from kgated.deploy.quantization import quantize
from kgated.deploy.quantization.calibration import record
from kgated.deploy.recipe import QUANTIZATIONS, Recipe
from kgated.deploy.streaming import step_model
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.float_file import FloatFile
from kgated.errors import ConversionError

STATIC = ["int8", "int16x8"]
QUANTIZED = [name for name in QUANTIZATIONS if name != "none"]
X_SHAPE = (6, 12, 5)
WEIGHTS, BIAS = 1, 2


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A float file, samples of its inputs, its states."""
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    model = spread(classifier(kgated.LSTM, units=8), rng)
    path = tmp_path_factory.mktemp("float") / "m.tflite"
    x = rng.normal(size=X_SHAPE).astype(np.float32)
    manifest = kgated.to_tflite(model, path, calibration=x).manifest
    step = step_model(model, steps.affine)
    samples = record(EdgeModel(path), [{"frame": sequence} for sequence in x])
    return embed(lower(step, Recipe()), manifest), samples, [(n, n) for n in step.states]


def quantized(source, name):
    content, samples, shared = source
    recipe = Recipe(quantize=name)
    samples = samples if recipe.is_static else ()
    return quantize.quantize(FloatFile.from_bytes(content), recipe, samples, shared)


def product(model):
    """The graph and the operator of the first product with a bias."""
    return next(
        (graph, operator)
        for graph, operator in flatbuffer.operators(model)
        if flatbuffer.operator_name(model, operator) == "FULLY_CONNECTED"
        and len(operator.inputs) > BIAS
        and operator.inputs[BIAS] >= 0
    )


def constant(model, slot):
    """The tensor that an operand of that product is stored in."""
    graph, operator = product(model)
    n = int(operator.inputs[slot])
    for cast in graph.operators:
        if flatbuffer.operator_name(model, cast) == "DEQUANTIZE" and n in cast.outputs:
            n = int(cast.inputs[0])
    return graph.tensors[n]


def change_data(model, tensor, change):
    buffer = model.buffers[tensor.buffer]
    half = tensor.type == schema.TensorType.FLOAT16
    kind = np.uint8 if tensor.type == schema.TensorType.INT4 else flatbuffer.type_name(tensor)
    data = np.frombuffer(bytes(buffer.data), np.float16 if half else kind)
    buffer.data = np.frombuffer(change(data.copy()).astype(data.dtype).tobytes(), np.uint8)


def swap_gates(model):
    weights = constant(model, WEIGHTS)
    change_data(model, weights, lambda x: np.roll(x.reshape(4, -1), 1, axis=0).ravel())


def zero_bias(model):
    change_data(model, constant(model, BIAS), np.zeros_like)


def drop_bias(model):
    _, operator = product(model)
    operator.inputs = np.array([*operator.inputs[:BIAS], -1], np.int32)


def scale_weights(model):
    weights = constant(model, WEIGHTS)
    if weights.type == schema.TensorType.FLOAT16:
        change_data(model, weights, lambda x: 2 * x)
    else:
        weights.quantization.scale = 2 * np.asarray(weights.quantization.scale)


def scale_bias(model):
    bias = constant(model, BIAS)
    change_data(model, bias, lambda x: x // 2)
    bias.quantization.scale = 2 * np.asarray(bias.quantization.scale)


def coarsen_result(model):
    graph, operator = product(model)
    scale_result(graph, operator, 4.0)


def narrow_result(model):
    graph, operator = product(model)
    scale_result(graph, operator, 0.25)


def scale_result(graph, operator, factor):
    parameters = graph.tensors[operator.outputs[0]].quantization
    parameters.scale = factor * np.asarray(parameters.scale)


def forget_quantize(model):
    """As if a QUANTIZE were missing before the operator that copies integers."""
    scale_result(
        *next(
            (graph, operator)
            for graph, operator in flatbuffer.operators(model)
            if flatbuffer.operator_name(model, operator) == "SPLIT"
        ),
        0.9,
    )


def untie_state(model):
    _, outputs = flatbuffer.signature(model)
    name = next(n for n in outputs if n.endswith("_c"))
    parameters = outputs[name].quantization
    parameters.scale = 1.01 * np.asarray(parameters.scale)


IN_EVERY_RECIPE = {
    swap_gates: "differs by up to",
    zero_bias: "differs by up to",
    drop_bias: "a bias is missing",
    scale_weights: "differs by up to|bias whose scale",
}
IN_INTEGERS = {
    scale_bias: "input scale times weight scale|differs by up to",
    coarsen_result: "has a scale|copies integers",
    narrow_result: "has a scale|copies integers",
    forget_quantize: "a QUANTIZE is missing",
    untie_state: "can't share a scale|differ in scale",
}
CASES = [(q, *case) for case in IN_EVERY_RECIPE.items() for q in QUANTIZED]
CASES += [(q, *case) for case in IN_INTEGERS.items() for q in STATIC]


@pytest.mark.parametrize(("name", "fault", "message"), CASES)
def test_a_fault_in_a_quantized_file_is_refused(name, fault, message, source, monkeypatch):
    apply = quantize.apply_rules

    def apply_with_fault(*arguments):
        model, ranges = apply(*arguments)
        fault(model)
        return model, ranges

    monkeypatch.setattr(quantize, "apply_rules", apply_with_fault)
    with pytest.raises(ConversionError, match=message):
        quantized(source, name)


@pytest.mark.parametrize("name", QUANTIZED)
def test_a_file_without_faults_passes(name, source):
    assert flatbuffer.pack(quantized(source, name))


def swapped(kernel):
    """The kernel with its first two gates exchanged."""
    gates = np.split(kernel, 4, axis=-1)
    return np.concatenate([gates[1], gates[0], *gates[2:]], axis=-1)


@pytest.mark.parametrize("name", QUANTIZATIONS)
def test_a_wrong_graph_is_refused_before_it_is_quantized(name, x, rng, tmp_path, lower_with):
    model = spread(classifier(kgated.LSTM, units=8), rng)
    kernel = model.get_layer("cell").cell.kernel
    lower_with(kernel, swapped(keras.ops.convert_to_numpy(kernel)))
    with pytest.raises(ConversionError, match="the float file disagrees with the Keras model"):
        kgated.to_tflite(model, tmp_path / "m.tflite", quantize=name, calibration=x)
    assert not list(tmp_path.iterdir())
