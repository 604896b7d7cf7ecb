"""Matrix-vector products as C."""

from collections.abc import Iterator

import numpy as np

from kgated.deploy.c.code import Code
from kgated.deploy.c.elementwise import with_activation
from kgated.deploy.c.graph import Operator
from kgated.deploy.c.nodes import Loop, Node, Product
from kgated.deploy.c.requantize import requantized

ROWS, COLUMNS = 16, 4
"""Rows of a block of packed weights; columns of int8 weights that lie together in it."""


def fully_connected(code: Code, operator: Operator) -> Iterator[Node]:
    """One product for each row of the input."""
    x, weights = operator.input(0), operator.constant(1)
    rows, columns = x.size // weights.shape[-1], weights.shape[-1]
    start, result = code.pointer(x), code.pointer(operator.output)
    if rows == 1:
        yield from product(code, operator, weights, start, result)
        return
    ends = f"{start} + r * {columns}", f"{result} + r * {len(weights)}"
    body = list(product(code, operator, weights, *ends))
    yield Loop(f"for (size_t r = 0; r < {rows}; ++r)", body)


def product(
    code: Code, operator: Operator, weights: np.ndarray, x: str, result: str
) -> Iterator[Node]:
    """One product, with its activation.

    Args:
        code: what is written.
        operator: with its weights as second input, and its bias as third.
        weights: (N, K).
        x: the C expression of the address of its input.
        result: that of its result.
    """
    kind = operator.input(0).dtype, weights.dtype.name
    if kind == ("float32", "float32"):
        yield from _float_product(code, operator, weights, x, result)
    elif kind == ("float32", "int8"):
        yield from _dynamic_product(code, operator, weights, x, result)
    elif kind == ("int8", "int8"):
        yield from _integer_product(code, operator, weights, x, result)
    else:
        raise operator.refused(f"its type is {kind[0]} with {kind[1]} weights")


def pack_float(weights: np.ndarray) -> np.ndarray:
    """Weights (N, K) in blocks of rows: (blocks, K, ROWS), the last block filled with zeros."""
    rows = -len(weights) % ROWS
    padded = np.pad(weights, ((0, rows), (0, 0)))
    return padded.reshape(-1, ROWS, weights.shape[1]).transpose(0, 2, 1)


def pack_int8(weights: np.ndarray) -> np.ndarray:
    """Weights (N, K) as (blocks, ceil(K / COLUMNS), ROWS, COLUMNS), filled with zeros."""
    padded = np.pad(weights, ((0, -len(weights) % ROWS), (0, -weights.shape[1] % COLUMNS)))
    return padded.reshape(-1, ROWS, padded.shape[1] // COLUMNS, COLUMNS).transpose(0, 2, 1, 3)


def pack_int4(weights: np.ndarray) -> np.ndarray:
    """Weights (N, K) of 4 bits, two of w + 8 in a byte: (blocks, ceil(K / 8), ROWS, COLUMNS).

    The lower half is of the first 4 of 8 columns.
    """
    padding = (0, -len(weights) % ROWS), (0, -weights.shape[1] % (2 * COLUMNS))
    padded = (np.pad(weights, padding) + 8).astype(np.uint8)
    halves = padded.reshape(-1, ROWS, padded.shape[1] // (2 * COLUMNS), 2, COLUMNS)
    low, high = halves.transpose(3, 0, 2, 1, 4)
    return low | (high << 4)


def _float_product(
    code: Code, operator: Operator, weights: np.ndarray, x: str, result: str
) -> Iterator[Node]:
    n, k = weights.shape
    code.use("dot_f32")
    packed = code.constant(pack_float(weights), "w")
    yield Product("f32", packed, x, result, bias_of(code, operator), f"{n}, {k}")
    yield from _activate(code, operator, result, n)


def _dynamic_product(
    code: Code, operator: Operator, weights: np.ndarray, x: str, result: str
) -> Iterator[Node]:
    """The input is quantized anew for each product; its result is float."""
    n, k = weights.shape
    q, sums, _ = _integers(code, n, k)
    kind, packed, totals, scales = integer_weights(code, operator, weights)
    arguments = f"{scales}, {bias_of(code, operator)}"
    yield Product(
        kind,
        f"{packed}, {totals}",
        q,
        sums,
        "{range}.zero_point",
        f"{n}, {k}",
        quantized=f"kg_quantize_row({x}, {q}, {k})",
        after=[f"kg_scale_sums({sums}, {{range}}.scale, {arguments}, {result}, {n});"],
    )
    yield from _activate(code, operator, result, n)


def integer_weights(
    code: Code, operator: Operator, weights: np.ndarray
) -> tuple[str, str, str, str]:
    """The kernel of weights (N, K), and the names of the packed ones, of their sums and scales."""
    scales = np.broadcast_to(operator.input(1).scales, (len(weights),)).astype(np.float32)
    code.use("quantize_rows")
    kind, packed = _packed(code, operator, weights)
    return kind, packed, code.constant(_sums(weights), "r"), code.constant(scales, "s")


def _packed(code: Code, operator: Operator, weights: np.ndarray) -> tuple[str, str]:
    """The kernel for integer weights, and the name of the packed ones."""
    kind, pack = ("s4", pack_int4) if operator.input(1).bits == 4 else ("s8", pack_int8)
    code.use(f"dot_{kind}")
    return kind, code.constant(pack(weights), "w")


def _integer_product(
    code: Code, operator: Operator, weights: np.ndarray, x: str, result: str
) -> Iterator[Node]:
    n, k = weights.shape
    source, bias = operator.input(0), operator.optional(2)
    q, sums, padded = _integers(code, n, k)
    kind, packed = _packed(code, operator, weights)
    totals = code.constant(_sums(weights), "r")
    before = []
    if padded != k:
        before = [f"memcpy({q}, {x}, {k});", f"memset({q} + {k}, 0, {padded - k});"]
        x = q
    added = "NULL" if bias is None or bias.data is None else code.constant(bias.data, "b")
    after = list(requantized(code, operator, (sums, added, result), n))
    zero, weights_of = str(source.zero_point), f"{packed}, {totals}"
    yield Product(kind, weights_of, x, sums, zero, f"{n}, {k}", before=before, after=after)


def _integers(code: Code, n: int, k: int) -> tuple[str, str, int]:
    """Memory for the quantized input and for the sums, and the input's padded size."""
    columns, rows = padded_columns(k), -(-n // ROWS) * ROWS
    return code.temporary("int8", columns, "q"), code.temporary("int32", rows), columns


def padded_columns(k: int) -> int:
    """How many integers an input of k numbers takes."""
    return -(-k // (2 * COLUMNS)) * 2 * COLUMNS


def _sums(weights: np.ndarray) -> np.ndarray:
    """The sum of each row, filled to whole blocks."""
    sums = weights.astype(np.int32).sum(1, dtype=np.int32)
    return np.pad(sums, (0, -len(sums) % ROWS))


def bias_of(code: Code, operator: Operator) -> str:
    """The C expression of the address of an operator's bias, or NULL."""
    bias = operator.optional(2)
    return "NULL" if bias is None else code.pointer(bias)


def _activate(code: Code, operator: Operator, result: str, n: int) -> Iterator[str]:
    if operator.options.get("fusedActivationFunction"):
        place = f"({result})[n]"
        yield f"for (size_t n = 0; n < {n}; ++n) {place} = {activated(code, operator, place)};"


def activated(code: Code, operator: Operator, text: str) -> str:
    """A C expression with the operator's activation."""
    result = with_activation(operator, text)
    if "kg_" in result:
        code.use("math")
    return result
