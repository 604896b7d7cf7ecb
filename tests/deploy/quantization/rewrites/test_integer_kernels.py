"""The table of integer kernels against what LiteRT runs."""

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from handmade_files import Tensor, file, run
from kgated_edge import open_model
from micro_runtime import check_in_micro

import kgated
from kgated.deploy.quantization.rewrites.integer_kernels import INTEGER, KERNELS

BINARY = ("MAXIMUM", "MINIMUM")
UNARY = ("ABS", "ELU", "EXP", "LEAKY_RELU", "LOG", "LOG_SOFTMAX")
ROWS = [(name, bits) for name in (*UNARY, *BINARY) for bits in KERNELS[name].bits]


@pytest.mark.parametrize(("name", "bits"), ROWS)
def test_the_interpreter_runs_the_kernel(name, bits):
    kind, shape = f"int{bits}", (1, 4)
    x = Tensor(shape, kind, 0.01)
    scale, zero_point = (KERNELS[name].output if bits == 8 else None) or (0.01, 0)
    names = ["x", "x"] if name in BINARY else ["x"]
    operator = (name, names, ["y"], *([{"alpha": 0.1}] if name == "LEAKY_RELU" else []))
    content = file({"x": x, "y": Tensor(shape, kind, scale, zero_point)}, [operator], ["x"], ["y"])
    assert run(content, x=np.array([[1, 2, 3, 100]], kind))["y"].dtype == kind


def test_a_row_names_an_operator_and_widths_that_files_have():
    codes = {name for name in vars(schema.BuiltinOperator) if name.isupper()}
    assert set(KERNELS) <= codes
    assert all(set(kernel.bits) <= set(INTEGER) for kernel in KERNELS.values())


@pytest.mark.parametrize(
    ("target", "quantize", "limit"),
    [("mcu", "int8", 0.06), ("cpu", "int16x8", 0.02)],
)
def test_dilated_convolutions_of_the_same_input_are_integers(
    target, quantize, limit, rng, tmp_path
):
    """The converter keeps SPACE_TO_BATCH_ND where two convolutions read it, as in WaveNet."""
    inputs, options = keras.Input((8, 3)), {"dilation_rate": 2, "padding": "causal"}
    keras.utils.set_random_seed(1)
    gates = [
        keras.layers.Conv1D(4, 2, activation=name, bias_initializer="random_normal", **options)
        for name in ("tanh", "sigmoid")
    ]
    model = keras.Model(inputs, keras.layers.Multiply()([gate(inputs) for gate in gates]))
    x, path = rng.normal(size=(8, 8, 3)).astype(np.float32), tmp_path / "m.tflite"
    chosen = {"target": target, "quantize": quantize, "calibration": x}
    kgated.to_tflite(model, path, mode="sequence", **chosen)
    expected = keras.ops.convert_to_numpy(model(x[:1]))[0]
    assert np.abs(open_model(path).run(x[0]) - expected).max() <= limit
    if target == "mcu":
        check_in_micro(path)
