"""Convolutions over time as C."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from kgated.deploy.c.code import Code
from kgated.deploy.c.graph import Operator, Tensor
from kgated.deploy.c.nodes import Loop, Node
from kgated.deploy.c.products import activated, product
from kgated.deploy.c.requantize import rescaled_sum

_SUFFIX = {"float32": "f32", "int8": "s8"}


def convolution(code: Code, operator: Operator) -> Iterator[Node]:
    """One product for each place of the kernel, and for each group of channels."""
    x, weights, options = operator.input(0), operator.constant(1), operator.options
    out, height, width, channels = weights.shape
    _check_one_row(operator, x, height)
    groups, places = x.shape[3] // channels, operator.output.shape[2]
    stride, dilation = options["strideW"], options["dilationWFactor"]
    before, body = _padding(operator, x.shape[2], width), list[Node]()
    source = f"{code.pointer(x)} + b * {x.shape[2] * x.shape[3]}"
    window = f"{source} + p * {stride * channels}"
    result = f"{code.pointer(operator.output)} + (b * {places} + p) * {out}"
    for n, group in enumerate(_groups(operator, groups)):
        if groups > 1 or dilation > 1 or before or _needs_padding(operator):
            window = code.temporary(x.dtype, width * channels, "w")
            gather = code.use(f"gather_{_SUFFIX[x.dtype]}")
            sizes = f"{width}, {channels}, {x.shape[3]}, {dilation}, {before}, {x.shape[2]}"
            pad = f", {x.zero_point}" if x.dtype == "int8" else ""
            start = f"{source} + {n * channels}" if n else source
            body.append(f"kg_{gather}({start}, {window}, p * {stride}, {sizes}{pad});")
        own = group.constant(1).reshape(out // groups, width * channels)
        body += product(code, group, own, window, f"{result} + {n * len(own)}" if n else result)
    inner = Loop(f"for (size_t p = 0; p < {places}; ++p)", body)
    yield Loop(f"for (size_t b = 0; b < {x.shape[0]}; ++b)", [inner])


def _groups(operator: Operator, count: int) -> list[Operator]:
    """The operator of each group of channels: the filters of the group, their scales and biases."""
    if count == 1:
        return [operator]
    weights, bias = operator.input(1), operator.optional(2)
    size = weights.shape[0] // count
    rows = [slice(n * size, (n + 1) * size) for n in range(count)]
    parts = [(_rows(weights, part), _rows(bias, part) if bias else None) for part in rows]
    return [replace(operator, inputs=(operator.input(0), *part)) for part in parts]


def _rows(tensor: Tensor, part: slice) -> Tensor:
    """Some of the filters, or of the biases, of a constant."""
    assert tensor.data is not None, "the filters and biases of a convolution are constants"
    data = np.ascontiguousarray(tensor.data[part])
    scales = tensor.scales if len(tensor.scales) == 1 else tensor.scales[part]
    return replace(tensor, shape=data.shape, data=data, scales=scales)


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
        result = activated(code, operator, f"(sum{_scale_and_bias(code, operator, out)})")
    else:
        result = rescaled_sum(code, operator, out)
    yield f"  {code.pointer(operator.output)}[n] = {result};"
    yield "}"


def _scale_and_bias(code: Code, operator: Operator, channels: int) -> str:
    """The scale of int8 weights and the bias, which turn a sum of channel k into its value."""
    weights, bias, text = operator.input(1), operator.optional(2), ""
    if weights.scales.size:
        scales = np.broadcast_to(weights.scales, (channels,)).astype(np.float32)
        text = f" * {code.constant(scales, 's')}[k]"
    return text if bias is None else f"{text} + {code.pointer(bias)}[k]"


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
