"""Names of activations of ONNX, with alpha and beta, and of Keras."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

Parameters = tuple[float | None, float | None]

KNOWN: dict[str, tuple[str, Parameters]] = {
    "sigmoid": ("Sigmoid", (None, None)),
    "tanh": ("Tanh", (None, None)),
    "relu": ("Relu", (None, None)),
    "softsign": ("Softsign", (None, None)),
    "softplus": ("Softplus", (None, None)),
    "hard_sigmoid": ("HardSigmoid", (1 / 6, 0.5)),
    "leaky_relu": ("LeakyRelu", (0.2, None)),
    "elu": ("Elu", (1.0, None)),
    "linear": ("Affine", (1.0, 0.0)),
}
"""Keras's name to ONNX's name with the alpha and beta that compute the same function."""

DEFAULTS: dict[str, Parameters] = {
    "HardSigmoid": (0.2, 0.5),
    "LeakyRelu": (0.01, None),
    "Elu": (1.0, None),
    "Affine": (1.0, 0.0),
}
"""ONNX's defaults of alpha and beta."""


def from_onnx_names(attributes: Mapping[str, Any], default: list[str]) -> list[str]:
    """The Keras names of a node's `activations`, or of `default` where the node has none.

    Raises:
        ValueError: Keras has no activation that computes the function with its alpha and beta.
    """
    alphas, betas = (iter(attributes.get(f"activation_{k}", [])) for k in ("alpha", "beta"))
    return [_keras_name(name, alphas, betas) for name in attributes.get("activations", default)]


def _keras_name(name: str, alphas: Iterator[float], betas: Iterator[float]) -> str:
    # Only a function that has an alpha takes one from the list.
    alpha, beta = DEFAULTS.get(name, (None, None))
    parameters = (
        None if alpha is None else next(alphas, alpha),
        None if beta is None else next(betas, beta),
    )
    for keras_name, (onnx_name, wanted) in KNOWN.items():
        if onnx_name == name and all(map(_same, parameters, wanted)):
            return keras_name
    raise ValueError(
        f"`activations` must be among {list(KNOWN.values())}, each with its (alpha, beta). "
        f"Received: {name!r} with {parameters}"
    )


def _same(a: float | None, b: float | None) -> bool:
    # An attribute of a node is a float32.
    return a == b or (a is not None and b is not None and bool(np.float32(a) == np.float32(b)))


def to_onnx_names(names: list[str]) -> dict[str, list[Any]]:
    """The attributes `activations`, `activation_alpha` and `activation_beta` of Keras's names.

    Raises:
        ValueError: ONNX doesn't have the function.
    """
    if unknown := [name for name in names if name not in KNOWN]:
        raise ValueError(f"ONNX has no activation {unknown[0]!r}, only {list(KNOWN)}")
    parameters = [KNOWN[name][1] for name in names]
    attributes: dict[str, list[Any]] = {
        "activations": [KNOWN[name][0] for name in names],
        "activation_alpha": [alpha for alpha, _ in parameters if alpha is not None],
        "activation_beta": [beta for _, beta in parameters if beta is not None],
    }
    return {name: values for name, values in attributes.items() if values}
