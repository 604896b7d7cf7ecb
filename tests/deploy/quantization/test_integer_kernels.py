"""The table of integer kernels against what LiteRT runs."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from handmade_files import Tensor, file, run

from kgated.deploy.quantization.integer_kernels import INTEGER, KERNELS

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
