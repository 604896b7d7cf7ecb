"""Pruning masks: they keep the weights of largest magnitude, singly, in blocks, or two in four.

The last two axes of a weight are (inputs, outputs). This holds for kernels, recurrent kernels, and
convolution kernels, whose taps are the first axis.
"""

import numpy as np

Block = tuple[int, int]


def largest(magnitude: np.ndarray, sparsity: float) -> np.ndarray:
    """A mask that is true at the largest entries; of equal entries, the first ones count.

    It is true at `max(1, round(size · (1 - share)))` entries, as in the code of Zhu & Gupta.
    """
    count = max(1, round(magnitude.size * (1.0 - sparsity)))
    order = np.argsort(-magnitude, axis=None, kind="stable")
    mask = np.zeros(magnitude.size, bool)
    mask[order[:count]] = True
    return mask.reshape(magnitude.shape)


def largest_blocks(weight: np.ndarray, sparsity: float, block: Block) -> np.ndarray:
    """A mask of blocks (inputs, outputs), chosen by their mean magnitude.

    The mean of a block at the edge is that of its entries inside the matrix.
    """
    sums = np.abs(weight).astype(float)
    counts = np.ones(weight.shape)
    for axis, size in zip((-2, -1), block, strict=True):
        starts = np.arange(0, weight.shape[axis], size)
        sums, counts = (np.add.reduceat(a, starts, axis=axis) for a in (sums, counts))
    mask = largest(sums / counts, sparsity)
    for axis, size in zip((-2, -1), block, strict=True):
        mask = np.repeat(mask, size, axis=axis)
    return mask[..., : weight.shape[-2], : weight.shape[-1]]


def two_in_four(weight: np.ndarray) -> np.ndarray:
    """A mask that keeps two weights of each four consecutive inputs of an output.

    If the last group has fewer inputs, the missing ones count as zeros.
    """
    missing = -weight.shape[-2] % 4
    spread = [(0, 0)] * (weight.ndim - 2) + [(0, missing), (0, 0)]
    padded = np.pad(np.abs(weight), spread)
    groups = np.moveaxis(padded, -2, -1).reshape(-1, 4)
    mask = np.zeros(groups.shape, bool)
    order = np.argsort(-groups, axis=1, kind="stable")
    np.put_along_axis(mask, order[:, :2], True, axis=1)
    turned = mask.reshape(*weight.shape[:-2], weight.shape[-1], -1)
    return np.moveaxis(turned, -1, -2)[..., : weight.shape[-2], :]
