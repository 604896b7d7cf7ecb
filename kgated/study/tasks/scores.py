"""The targets that models learn, and the scores of their outputs on each sequence."""

import numpy as np
from kgated_edge.evaluation.dataset import SequenceData

from kgated.data import is_real
from kgated.models.language import cross_entropy_bits
from kgated.study.tasks.metrics import Scores

Array = np.ndarray


def sequence_targets(data: SequenceData) -> tuple[Array, Array]:
    """The targets (N, ...), and a weight of 1 for each, (N,)."""
    return _numbers(data), np.ones(len(data), np.float32)


def frame_targets(data: SequenceData) -> tuple[Array, Array]:
    """The targets (N, T, ...) with zeros as padding, and weights (N, T): 0 for padding, else 1."""
    real = is_real(data.lengths, data.x.shape[1])
    y = _numbers(data)
    y = np.where(real.reshape(*real.shape, *[1] * (y.ndim - 2)), y, np.zeros((), y.dtype))
    return y, real.astype(np.float32)


def token_targets(data: SequenceData) -> tuple[Array, Array]:
    """The next tokens (N, T), and weights (N, T): 0 where there is no next token, else 1."""
    following = np.concatenate([data.x[:, 1:], np.zeros_like(data.x[:, :1])], axis=1)
    return following, is_real(data.lengths - 1, data.x.shape[1]).astype(np.float32)


def _numbers(data: SequenceData) -> Array:
    y = np.asarray(data.y)
    return y if y.dtype.kind in "iu" else y.astype(np.float32)


def correct_decisions(outputs: Array, data: SequenceData) -> Scores:
    """1 for each sequence with the right class, from outputs (N, classes)."""
    right = outputs.argmax(axis=-1) == data.y
    return Scores(right.astype(float)[None], np.ones(len(data)))


def correct_frames(outputs: Array, data: SequenceData) -> Scores:
    """The number of frames with the right class, from outputs (N, T, classes)."""
    real = is_real(data.lengths, data.x.shape[1])
    right = (outputs.argmax(axis=-1) == data.y) & real
    return Scores(right.sum(axis=1, dtype=float)[None], data.lengths.astype(float))


def squared_errors(outputs: Array, data: SequenceData) -> Scores:
    """Squared errors of outputs (N, K), the mean over K."""
    errors = outputs.astype(np.float64) - np.asarray(data.y, np.float64).reshape(outputs.shape)
    return Scores((errors**2).mean(axis=-1)[None], np.ones(len(data)))


def frame_errors(outputs: Array, data: SequenceData) -> Scores:
    """Squared errors of outputs (N, T, K), the mean over K and the sum over real frames."""
    y, real = frame_targets(data)
    errors = outputs.astype(np.float64) - y.reshape(outputs.shape)
    totals = np.where(real > 0, (errors**2).mean(axis=-1), 0.0).sum(axis=1)
    return Scores(totals[None], data.lengths.astype(float))


def token_bits(outputs: Array, data: SequenceData) -> Scores:
    """Cross-entropy in bits of all tokens of a sequence but the first, from logits (N, T, V)."""
    totals = [
        cross_entropy_bits(logits[: length - 1].astype(np.float64), tokens[1:length]).sum()
        for logits, tokens, length in zip(outputs, data.x, data.lengths, strict=True)
    ]
    return Scores(np.array(totals)[None], (data.lengths - 1).astype(float))
