"""Which weights of a matrix stay: those of the largest magnitude, alone, in blocks, two in four.

The last two axes of a weight are (inputs, outputs), in kernels, recurrent kernels, and those of
convolutions, which have their taps before these.
"""

import numpy as np

Block = tuple[int, int]


def largest(magnitude: np.ndarray, sparsity: float) -> np.ndarray:
    """True at all but `share` of the entries, at the largest ones; of equal ones at the first.

    As many stay as `max(1, round(size · (1 - share)))`, the count of Zhu & Gupta's code.
    """
    count = max(1, round(magnitude.size * (1.0 - sparsity)))
    order = np.argsort(-magnitude, axis=None, kind="stable")
    mask = np.zeros(magnitude.size, bool)
    mask[order[:count]] = True
    return mask.reshape(magnitude.shape)


def largest_blocks(weight: np.ndarray, sparsity: float, block: Block) -> np.ndarray:
    """A mask of whole blocks (inputs, outputs), by the mean magnitude in each.

    A block that reaches beyond the edge counts with what it has inside.
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
    """A mask with two weights in each four consecutive inputs of an output.

    The last group may have fewer inputs; the missing ones count as zeros.
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
