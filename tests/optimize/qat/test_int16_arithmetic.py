"""The arithmetic of LiteRT's 16-bit kernels in training, compared with those kernels."""

import keras
import numpy as np
import pytest
from handmade_files import run_operator

from kgated.optimize.qat import int16_arithmetic
from kgated.optimize.qat.activation_tables import lookup
from kgated.optimize.qat.fake_quant import QuantParams
from kgated.optimize.qat.int16_arithmetic import AccumulatorScale

EVERY = np.arange(-(2**15), 2**15, dtype=np.int16)[None]
N = 4096
pytestmark = pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="JAX computes no float64: results are near, not equal"
)


def single(*values):
    """The numbers as a file has them, in float64."""
    rounded = [np.float32(value).astype(np.float64) for value in values]
    return rounded[0] if len(rounded) == 1 else rounded


def integers(rng, *shape):
    return rng.integers(-(2**15), 2**15, shape).astype(np.int16)


def int16_params(scale):
    return QuantParams(scale, -(2.0**15), 2.0**15 - 1)


@pytest.mark.parametrize(("operator", "function"), [("LOGISTIC", "sigmoid"), ("TANH", "tanh")])
def test_an_activation_equals_the_kernel_at_every_integer(operator, function):
    exact = {"sigmoid": lambda x: 1 / (1 + np.exp(-x)), "tanh": np.tanh}[function]
    unlike = 0
    for scale in single(1e-5, 1.234e-4, 2.5e-4, 7e-4, 2e-3, 2**-15):
        expected = run_operator(operator, [EVERY], [scale], EVERY.shape, 2.0**-15)
        x = keras.ops.convert_to_tensor((EVERY * scale).astype(np.float32))
        results = np.asarray(lookup(function, x, scale)) * 2**15
        assert np.array_equal(results, expected)
        unlike += np.sum(np.round(exact(EVERY * scale) * 2**15).clip(max=2**15 - 1) != expected)
    assert unlike > 0.1 * 6 * EVERY.size  # rounding the function itself would not do


@pytest.mark.parametrize("kernel", ["fully_connected_bias", "fully_connected", "convolution"])
def test_products_with_weights_are_rounded_as_by_the_kernel(kernel, rng):
    of_x, scale = single(4e-5, 2e-4)
    of_w = single(rng.uniform(0.003, 0.005, 64))
    x, W = integers(rng, 64, 9), rng.integers(-127, 128, (64, 9)).astype(np.int8)
    b = rng.integers(-(2**22), 2**22, 64)
    k, arrays, scales = x.astype(np.int64) @ W.T, [x, W], [of_x, of_w]
    if kernel != "fully_connected":
        k, arrays, scales = k + b, [x, W, b], [of_x, of_w, of_x * of_w]
    if kernel == "convolution":  # of a row of products
        arrays = [x[None, :, None], W[:, None, None], b]
        options = {"strideW": 1, "strideH": 1}
        expected = run_operator("CONV_2D", arrays, scales, (1, 64, 1, 64), scale, **options)[
            0, :, 0
        ]
    else:
        kind = {"weightsFormat": 0}
        expected = run_operator("FULLY_CONNECTED", arrays, scales, (64, 64), scale, **kind)
    size = of_x * of_w

    def rounded(kernel):
        y = int16_arithmetic.requantize(
            keras.ops.convert_to_tensor(k * size), AccumulatorScale(size, kernel), params
        )
        return np.round(np.asarray(y) / scale)

    params = int16_params(scale)
    assert np.array_equal(rounded(kernel), expected)
    if kernel == "convolution":
        assert np.mean(rounded("fully_connected_bias") != expected) > 0.01


@pytest.mark.parametrize("operator", ["MUL", "ADD", "SUB"])
def test_elementwise_operators_equal_the_kernels(operator, rng):
    scale_a, scale_b, scale = single(3.05e-5, 1.1e-4, 1.4e-4)
    a, b = integers(rng, 1, N), integers(rng, 1, N)
    expected = run_operator(operator, [a, b], [scale_a, scale_b], (1, N), scale)
    a, b = (keras.ops.convert_to_tensor(q * s) for q, s in ((a, scale_a), (b, scale_b)))
    if operator == "MUL":
        result = int16_arithmetic.requantize(
            a * b, AccumulatorScale(scale_a * scale_b, "elementwise"), int16_params(scale)
        )
    else:
        sign = 1 if operator == "ADD" else -1
        result = int16_arithmetic.add(
            a, b, sign, tuple(map(int16_params, (scale_a, scale_b, scale)))
        )
    off = np.abs(np.round(np.asarray(result) / scale) - expected)
    # With AVX2 an ADD of 16 values at once takes halves of its operands another way.
    assert off.max() <= 1
    assert np.sum(off > 0) <= (4 if operator == "ADD" else 0)
