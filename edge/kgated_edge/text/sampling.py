"""Draws the next token from a language model's output."""

import numpy as np

from kgated_edge.format.tensor_spec import Array

_SMALLEST = np.finfo(np.float64).tiny


def are_probabilities(results: Array) -> bool:
    """Whether each row (..., outputs) holds probabilities, as a softmax computes them."""
    # A quantized softmax output is off by up to half a step, which is 1 / 256 in int8.
    is_normal = results.size and results.min() >= 0 and np.abs(results.sum(-1) - 1).max() <= 0.1
    return bool(is_normal)


def sample(scores: Array, temperature: float, top_k: int | None, rng: "np.random.Generator") -> int:
    """Draws a token from `softmax(logits / temperature)` over the `top_k` likeliest.

    Args:
        scores: (V,) logits, or probabilities, whose logarithms are then the logits.
        temperature: from 0, which is the likeliest token; of equal ones the first.
        top_k: 1..V; None: all.
        rng: of the draw.

    Returns:
        the token's id.
    """
    scores = scores.astype(np.float64)
    if temperature == 0.0:
        return int(scores.argmax())
    logits = np.log(np.maximum(scores, _SMALLEST)) if are_probabilities(scores) else scores
    order = np.argsort(-logits, kind="stable")[:top_k]
    powers = np.exp((logits[order] - logits[order[0]]) / temperature)
    return int(rng.choice(order, p=powers / powers.sum()))
