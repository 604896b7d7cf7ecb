"""Matrix-vector products as C: FULLY_CONNECTED and the convolutions."""

from collections.abc import Iterator

import numpy as np

from kgated.deploy.c.code import Code
from kgated.deploy.c.elementwise import with_activation
from kgated.deploy.c.graph import Operator, Tensor
from kgated.deploy.c.nodes import Loop, Node, Product
from kgated.deploy.c.requantize import requantized, rescaled_sum

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


def convolution(code: Code, operator: Operator) -> Iterator[Node]:
    """One product for each place of the kernel."""
    x, weights, options = operator.input(0), operator.constant(1), operator.options
    out, height, width, channels = weights.shape
    _check_one_row(operator, x, height)
    if channels != x.shape[3]:
        raise operator.refused("it has groups of channels")
    stride, dilation = options["strideW"], options["dilationWFactor"]
    before = _padding(operator, x.shape[2], width)
    flat = weights.reshape(out, width * channels)
    places, body = operator.output.shape[2], list[Node]()
    source = f"{code.pointer(x)} + b * {x.shape[2] * channels}"
    window = f"{source} + p * {stride * channels}"
    if dilation > 1 or before or _needs_padding(operator):
        window = code.temporary(x.dtype, width * channels, "w")
        gather = code.use(f"gather_{_SUFFIX[x.dtype]}")
        sizes = f"{width}, {channels}, {dilation}, {before}, {x.shape[2]}"
        pad = f", {x.zero_point}" if x.dtype == "int8" else ""
        body.append(f"kg_{gather}({source}, {window}, p * {stride}, {sizes}{pad});")
    result = f"{code.pointer(operator.output)} + (b * {places} + p) * {out}"
    body += product(code, operator, flat, window, result)
    inner = Loop(f"for (size_t p = 0; p < {places}; ++p)", body)
    yield Loop(f"for (size_t b = 0; b < {x.shape[0]}; ++b)", [inner])


def depthwise(code: Code, operator: Operator) -> Iterator[Node]:
    """A weighted sum over the kernel for each channel and place."""
    x, weights, options = operator.input(0), operator.constant(1), operator.options
    _, height, width, out = weights.shape
    _check_one_row(operator, x, height)
    if x.dtype not in ("float32", "int8"):
        raise operator.refused(f"its type is {x.dtype}")
    many, places = options["depthMultiplier"], operator.output.shape[2]
    before, channels = _padding(operator, x.shape[2], width), x.shape[3]
    place = f"(b * {x.shape[2]} + t{f' - {before}' if before else ''}) * {channels} + k / {many}"
    number, weight = f"{code.pointer(x)}[{place}]", f"{code.constant(weights, 'w')}[j * {out} + k]"
    is_float = x.dtype == "float32"
    value = f"{number} * (float){weight}" if is_float else f"({number} - {x.zero_point}) * {weight}"
    inside = f"if (t >= {before} && t < {before + x.shape[2]}) " if _needs_padding(operator) else ""
    yield f"for (size_t n = 0; n < {operator.output.size}; ++n) {{"
    yield f"  const size_t k = n % {out}, p = n / {out} % {places}, b = n / {out * places};"
    yield "  float sum = 0.0f;" if is_float else "  int32_t sum = 0;"
    yield f"  for (size_t j = 0; j < {width}; ++j) {{"
    yield f"    const size_t t = p * {options['strideW']} + j * {options['dilationWFactor']};"
    yield f"    {inside}sum += {value};"
    yield "  }"
    if is_float:
        result = _activated(code, operator, f"(sum{_scale_and_bias(code, operator, out)})")
    else:
        result = rescaled_sum(code, operator, out)
    yield f"  {code.pointer(operator.output)}[n] = {result};"
    yield "}"


def _scale_and_bias(code: Code, operator: Operator, channels: int) -> str:
    """What turns a sum of channel k into its value: the scale of int8 weights, and the bias."""
    weights, bias, text = operator.input(1), operator.optional(2), ""
    if weights.scales.size:
        scales = np.broadcast_to(weights.scales, (channels,)).astype(np.float32)
        text = f" * {code.constant(scales, 's')}[k]"
    return text if bias is None else f"{text} + {code.pointer(bias)}[k]"


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
        yield f"for (size_t n = 0; n < {n}; ++n) {place} = {_activated(code, operator, place)};"


def _activated(code: Code, operator: Operator, text: str) -> str:
    result = with_activation(operator, text)
    if "kg_" in result:
        code.use("math")
    return result


def _check_one_row(operator: Operator, x: Tensor, height: int) -> None:
    if x.shape[1] != 1 or height != 1:
        raise operator.refused("it convolves over two axes")


def _needs_padding(operator: Operator) -> bool:
    return int(operator.options["padding"]) == 0  # SAME


def _padding(operator: Operator, frames: int, width: int) -> int:
    """Frames of zeros in front, of the padding "same"."""
    if not _needs_padding(operator):
        return 0
    stride, dilation = operator.options["strideW"], operator.options["dilationWFactor"]
    reach = (operator.output.shape[2] - 1) * stride + (width - 1) * dilation + 1
    return int(max(reach - frames, 0) // 2)


_SUFFIX = {"float32": "f32", "int8": "s8"}
