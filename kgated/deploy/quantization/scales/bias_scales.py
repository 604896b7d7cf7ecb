"""Makes weight scales coarser where the bias of a channel with tiny weights would overflow.

A bias is an integer in the scale of input times weights. A channel whose weights are zero, as of a
pruned unit, has a scale of about 1e-11, and any bias of it saturates 32 bits. So such a channel
gets a coarser scale: one step of its bias is then 2^-30 of the bias, and what its weights lose by
rounding is less than the result can show.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.constants import Constants

BIASED = {"FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D"}
WEIGHTS, BIAS = 1, 2  # operands
_LARGEST_BIAS = 2.0**30  # in steps: half of 32 bits, the sums need the rest
_INTEGERS = {schema.TensorType.INT32: np.int32, schema.TensorType.INT64: np.int64}


@dataclass(frozen=True)
class _Product:
    """An operator whose bias is constant, with its tensors and the numbers of its constants."""

    tensors: list[schema.TensorT]
    weights: np.ndarray
    bias: np.ndarray

    @property
    def input_scale(self) -> float | None:
        """The scale of the input of the product; None for floats."""
        parameters = flatbuffer.scale_and_zero_point(self.tensors[0])
        return None if parameters is None else parameters[0]


def needed_scale(bias: np.ndarray, input_scale: float) -> np.ndarray:
    """The finest scale of the weights with which a float bias (channels,) fits its integers."""
    return np.abs(bias) / (input_scale * _LARGEST_BIAS)


def fit_weight_scales(source: schema.ModelT, quantized: schema.ModelT) -> None:
    """Make the scales of weights coarser where a bias does not fit into its integers.

    Args:
        source: the float file.
        quantized: what the quantizer made of it, the operators in the same order; changed in place.
    """
    users: dict[int, list[tuple[_Product, list[schema.TensorT]]]] = {}
    pairs = list(_products(source)), list(_products(quantized))
    if len(pairs[0]) != len(pairs[1]):
        return  # a bias is missing, which `check_weights` refuses
    for product, source in zip(*pairs, strict=True):
        weights, bias = source.tensors[WEIGHTS], source.tensors[BIAS]
        if source.input_scale and weights.type == schema.TensorType.INT8 and bias.type in _INTEGERS:
            users.setdefault(id(weights), []).append((product, source.tensors))
    for products in users.values():
        _fit(quantized, products)


def _products(model: schema.ModelT) -> Iterator[_Product]:
    for graph in model.subgraphs:
        constants = Constants(model, graph)
        for operator in graph.operators:
            inputs = list(map(int, operator.inputs))
            if flatbuffer.operator_name(model, operator) not in BIASED or len(inputs) <= BIAS:
                continue
            weights, bias = constants.read(inputs[WEIGHTS]), constants.read(inputs[BIAS])
            if weights is not None and bias is not None:
                tensors = [graph.tensors[n] for n in inputs[: BIAS + 1]]
                yield _Product(tensors, weights.values, bias.values)


def _fit(model: schema.ModelT, products: list[tuple[_Product, list[schema.TensorT]]]) -> None:
    """Fit the one weights tensor of these products to all of their biases."""
    source, (_, weights, _) = products[0]
    scale = np.asarray(weights.quantization.scale, np.float64)
    fitted = scale
    for product, tensors in products:
        needed = needed_scale(product.bias, _scale(tensors[0]))
        fitted = np.maximum(fitted, needed if len(scale) > 1 else needed.max())
    if (fitted <= scale).all():
        return
    fitted = fitted.astype(np.float32)
    axes = np.ones(source.weights.ndim, int)
    axes[weights.quantization.quantizedDimension] = len(fitted)
    integers = np.clip(np.round(source.weights / fitted.reshape(axes)), -127, 127)
    _store(model, weights, fitted, integers.astype(np.int8))
    for product, tensors in products:
        steps = (_scale(tensors[0]) * fitted).astype(np.float32)
        rounded = np.round(product.bias / steps.astype(np.float64))
        _store(model, tensors[BIAS], steps, rounded.astype(_INTEGERS[tensors[BIAS].type]))


def _scale(tensor: schema.TensorT) -> float:
    return float(tensor.quantization.scale[0])


def _store(
    model: schema.ModelT, tensor: schema.TensorT, scale: np.ndarray, integers: np.ndarray
) -> None:
    tensor.quantization.scale = scale
    tensor.buffer = flatbuffer.add_buffer(model, integers)
