"""The step functions against the float64 oracle, and proof that the comparison can fail."""

import keras
import numpy as np
import pytest
import reference
from keras import ops
from registry import BATCH, FEATURES, ROWS, UNITS, inputs, randomized, values, weights_of

from kgated import steps

TOLERANCE = 1e-6


@pytest.fixture(params=ROWS, ids=str)
def row(request):
    return request.param


def one_step(row, rng):
    """A cell with random weights, a frame, a state, and what cell and oracle make of them."""
    cell = row.cell()
    cell.build((None, FEATURES))
    randomized(cell, rng)
    x = inputs(rng, time=1)
    sizes = keras.tree.flatten(cell.state_size)
    state = [rng.normal(size=(BATCH, n)).astype(np.float32) for n in sizes]
    output, new = cell.step(ops.convert_to_tensor(x[:, 0]), list(map(ops.convert_to_tensor, state)))
    return cell, x, state, [values(output), *values(new)]


def oracle_step(row, x, weights, state):
    outputs, states = row.oracle(x, weights, state=state)
    return [outputs[:, 0], *states]


def largest_difference(gated, reference):
    return max(np.abs(a - b).max() for a, b in zip(gated, reference, strict=True))


def test_step_equals_oracle(row, rng):
    cell, x, state, gated = one_step(row, rng)
    assert largest_difference(gated, oracle_step(row, x, weights_of(cell), state)) <= TOLERANCE


def test_tolerance_sees_every_weight(row, rng):
    cell, x, state, gated = one_step(row, rng)
    for name, weight in weights_of(cell).items():
        moved = {**weights_of(cell), name: weight + 1e-3 * rng.normal(size=weight.shape)}
        assert largest_difference(gated, oracle_step(row, x, moved, state)) > 10 * TOLERANCE, name


def test_tolerance_sees_two_gates_swapped(row, rng):
    cell, x, state, gated = one_step(row, rng)
    weights = weights_of(cell)
    width = weights["kernel"].shape[-1]
    swapped = np.roll(np.arange(width), UNITS)
    moved = {name: w[..., swapped] if w.shape[-1] == width else w for name, w in weights.items()}
    assert largest_difference(gated, oracle_step(row, x, moved, state)) > 100 * TOLERANCE


@pytest.mark.parametrize("bias_is_row", [False, True])
@pytest.mark.parametrize("affine", [steps.affine, steps.affine_joined])
def test_other_products_are_the_same_product(row, rng, affine, bias_is_row):
    cell, x, state, gated = one_step(row, rng)
    # With the reset after the product there is a bias for each; minimal cells multiply x alone.
    if bias_is_row and row.recurrent and not getattr(cell, "reset_after", False):
        x, affine = steps.ends_in_one(x), steps.bias_as_row(affine)
    tensors = [ops.convert_to_tensor(a) for a in (x[:, 0], *state)]
    output, new = cell.step(tensors[0], tensors[1:], affine=affine)
    assert largest_difference(gated, [values(output), *values(new)]) <= TOLERANCE


def test_layer_norm_is_computed_in_float32_where_float16_would_vanish():
    nearly_constant = ops.convert_to_tensor(np.array([[1.0, 1.001]], np.float16))
    normalize = steps.normalized(lambda a: a, ops.ones((2,), "float16"), None)
    actual = normalize(nearly_constant)
    exact = reference.standardized(np.float64(values(nearly_constant)))
    assert keras.backend.standardize_dtype(actual.dtype) == "float16"
    np.testing.assert_allclose(values(actual), exact, atol=1e-3)
    zero = normalize(ops.zeros((1, 2), "float16"))
    np.testing.assert_array_equal(values(zero), np.zeros((1, 2)))
