"""Operators that move or combine numbers, as C."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from kgated.deploy.c.code import Code
from kgated.deploy.c.convolutions import convolution, depthwise
from kgated.deploy.c.elementwise import literal
from kgated.deploy.c.graph import Operator, Tensor
from kgated.deploy.c.nodes import Node
from kgated.deploy.c.products import fully_connected
from kgated.deploy.c.quantized import check_same_scale
from kgated.deploy.c.reductions import REDUCTIONS, pool, reduction
from kgated.deploy.c.views import slices

Emitter = Callable[[Code, Operator], Iterator[Node]]


def emitter(operator: Operator) -> Emitter:
    """The function that writes the C lines of an operator that is not elementwise.

    Raises:
        ConversionError: there is none.
    """
    if operator.name not in _EMITTERS:
        raise operator.refused("there is no C for it")
    return _EMITTERS[operator.name]


def _concatenation(code: Code, operator: Operator) -> Iterator[str]:
    result = operator.output
    axis = int(operator.options["axis"]) % len(result.shape)
    outer, width = int(np.prod(result.shape[:axis])), int(np.prod(result.shape[axis:]))
    start = 0
    for part in operator.inputs:
        if part is None:
            continue
        check_same_scale(operator, part)
        size = part.size // outer
        yield from _copy(code, (part, 0, size), (result, start, width), outer, size)
        start += size


def _copy(
    code: Code,
    source: tuple[Tensor, int, int],
    target: tuple[Tensor, int, int],
    rows: int,
    size: int,
) -> Iterator[str]:
    """Copy rows between tensors, each given with its first number and its distance of rows."""
    (x, first, step), (y, start, stride) = source, target
    into, out = _plus(code.pointer(y), start), _plus(code.pointer(x), first)
    count = f"{size} * sizeof *({code.pointer(y)})"
    if rows == 1:
        yield f"memcpy({into}, {out}, {count});"
    else:
        yield f"for (size_t r = 0; r < {rows}; ++r)"
        yield f"  memcpy({into} + r * {stride}, {out} + r * {step}, {count});"


def _plus(pointer: str, offset: int) -> str:
    return f"{pointer} + {offset}" if offset else pointer


def _moved(code: Code, operator: Operator, places: np.ndarray) -> Iterator[str]:
    """Each number of the result from its place in the first data input, by runs."""
    source = next(x for x in operator.inputs if x is not None and x.data is None)
    flat = places.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=flat[0] - 2) != 1)
    for start, end in zip(starts, [*starts[1:], len(flat)], strict=True):
        size, first = int(end - start), int(flat[start])
        ends = (source, first, 0), (operator.output, int(start), 0)
        yield from _copy(code, *ends, 1, size)


def _transpose(code: Code, operator: Operator) -> Iterator[str]:
    x = operator.input(0)
    places = np.arange(x.size).reshape(x.shape)
    yield from _moved(code, operator, places.transpose(operator.constant(1).ravel()))


def _strided(code: Code, operator: Operator) -> Iterator[str]:
    x = operator.input(0)
    yield from _moved(code, operator, np.arange(x.size).reshape(x.shape)[slices(operator)])


def _split(code: Code, operator: Operator) -> Iterator[str]:
    by_size = operator.name == "SPLIT_V"
    source = operator.input(0 if by_size else 1)
    axis = int(operator.constant(2 if by_size else 0).ravel()[0]) % len(source.shape)
    yield from _parts(code, operator, source, axis)


def _unpack(code: Code, operator: Operator) -> Iterator[str]:
    source = operator.input(0)
    yield from _parts(code, operator, source, int(operator.options["axis"]) % len(source.shape))


def _parts(code: Code, operator: Operator, source: Tensor, axis: int) -> Iterator[str]:
    """The outputs, one after the other along an axis."""
    rows = int(np.prod(source.shape[:axis]))
    start, width = 0, source.size // rows
    for part in operator.outputs:
        size = part.size // rows
        yield from _copy(code, (source, start, width), (part, 0, size), rows, size)
        start += size


def _pad(code: Code, operator: Operator) -> Iterator[str]:
    x, result = operator.input(0), operator.output
    places = np.pad(np.arange(x.size).reshape(x.shape), operator.constant(1), constant_values=-1)
    value = str(x.zero_point) if x.scales.size else "0"
    if operator.name == "PADV2":
        number = operator.constant(2).ravel()[0]
        value = literal(number) if x.dtype == "float32" else str(int(number))
    yield f"for (size_t n = 0; n < {result.size}; ++n) {code.element(result, 'n')} = {value};"
    flat = places.ravel()
    inside = np.flatnonzero(flat >= 0)
    breaks = np.flatnonzero((np.diff(inside) != 1) | (np.diff(flat[inside]) != 1)) + 1
    for run in np.split(inside, breaks):
        ends = (x, int(flat[run[0]]), 0), (result, int(run[0]), 0)
        yield from _copy(code, *ends, 1, len(run))


def _gather(code: Code, operator: Operator) -> Iterator[str]:
    """Rows of a table, by a token each."""
    table, tokens = operator.input(0), operator.input(1)
    if operator.name == "EMBEDDING_LOOKUP":
        table, tokens = tokens, table
    elif operator.options.get("axis") or operator.options.get("batchDims"):
        raise operator.refused("it takes numbers along another axis than the first")
    if tokens.dtype != "int32":
        raise operator.refused(f"its indices are {tokens.dtype}")
    width = table.size // table.shape[0]
    place = f"(size_t){code.element(tokens, 'r')} * {width}"
    target = f"{code.pointer(operator.output)} + r * {width}"
    yield f"for (size_t r = 0; r < {tokens.size}; ++r)"
    if table.dtype == operator.output.dtype:
        size = f"{width} * sizeof *({code.pointer(operator.output)})"
        yield f"  memcpy({target}, {code.pointer(table)} + {place}, {size});"
        return
    if (table.dtype, operator.output.dtype) != ("int8", "float32") or table.data is None:
        raise operator.refused(f"it makes {operator.output.dtype} of {table.dtype}")
    scales = np.broadcast_to(table.scales, (table.shape[0],)).astype(np.float32)
    scale = f"{code.constant(scales, 's')}[{code.element(tokens, 'r')}]"
    number = f"(float){code.pointer(table)}[{place} + n]"
    yield f"  for (size_t n = 0; n < {width}; ++n) ({target})[n] = {scale} * {number};"


def _softmax(code: Code, operator: Operator) -> Iterator[str]:
    x, result = operator.input(0), operator.output
    if x.dtype not in ("float32", "int8"):
        raise operator.refused(f"its type is {x.dtype}")
    width, beta = x.shape[-1], literal(operator.options.get("beta", 1.0))
    yield f"for (size_t r = 0; r < {x.size // width}; ++r)"
    rows = f"{code.pointer(x)} + r * {width}, {code.pointer(result)} + r * {width}"
    if x.dtype == "float32":
        yield f"  kg_{code.use('softmax')}({rows}, {width}, {beta});"
        return
    code.use("integers")
    steps = np.arange(-255, 1).astype(np.float32) * np.float32(x.scale * np.float32(beta[:-1]))
    powers = code.constant(np.exp(steps.astype(np.float64)).astype(np.float32), "e")
    ends = f"{powers}, {literal(result.scale)}, {result.zero_point}"
    yield f"  kg_{code.use('softmax_s8')}({rows}, {width}, {ends});"


def _by_rows(code: Code, operator: Operator) -> Iterator[str]:
    """A function of the last axis, in float."""
    x, width = operator.input(0), operator.input(0).shape[-1]
    if x.dtype != "float32":
        raise operator.refused(f"its type is {x.dtype}")
    ends = f"{code.pointer(x)} + r * {width}, {code.pointer(operator.output)} + r * {width}"
    yield f"for (size_t r = 0; r < {x.size // width}; ++r)"
    yield f"  kg_{code.use(operator.name.lower())}({ends}, {width});"


_EMITTERS: Mapping[str, Emitter] = {
    "FULLY_CONNECTED": fully_connected,
    "CONV_2D": convolution,
    "DEPTHWISE_CONV_2D": depthwise,
    **dict.fromkeys(("CONCATENATION", "PACK"), _concatenation),
    "UNPACK": _unpack,
    "TRANSPOSE": _transpose,
    "PAD": _pad,
    "PADV2": _pad,
    "SOFTMAX": _softmax,
    **dict.fromkeys(("LOG_SOFTMAX", "L2_NORMALIZATION"), _by_rows),
    **dict.fromkeys(("SLICE", "STRIDED_SLICE"), _strided),
    **dict.fromkeys(("SPLIT", "SPLIT_V"), _split),
    **dict.fromkeys(("GATHER", "EMBEDDING_LOOKUP"), _gather),
    **dict.fromkeys(REDUCTIONS, reduction),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), pool),
}
