"""K-means in one dimension, which clusters the weights of a matrix.

Equations, for weights w and centroids c, until no weight changes its cluster::

    a(n) ← argmin_j |w(n) - c(j)|        c(j) ← mean of the w(n) with a(n) = j

Reference: Lloyd 1982; Arthur & Vassilvitskii 2007 for "kmeans++"; Han et al. 2016 for the others.
"""

from collections.abc import Callable

import numpy as np

_MAX_ROUNDS = 100


def linear(values: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Centroids evenly spaced from the smallest value to the largest."""
    return np.linspace(values.min(), values.max(), n)


def density(values: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Centroids at evenly spaced quantiles: each starts with the same number of weights."""
    return np.quantile(values, (np.arange(n) + 0.5) / n)


def kmeans_pp(values: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Centroids drawn with probability proportional to the squared distance from earlier ones."""
    chosen = [rng.choice(values)]
    distance = (values - chosen[0]) ** 2
    for _ in range(n - 1):
        chosen.append(rng.choice(values, p=distance / distance.sum()))
        distance = np.minimum(distance, (values - chosen[-1]) ** 2)
    return np.sort(chosen)


INITS: dict[str, Callable[[np.ndarray, int, np.random.Generator], np.ndarray]] = {
    "linear": linear,
    "kmeans++": kmeans_pp,
    "density": density,
}


def k_means(values: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cluster values (N,) by k-means from the initial centroids (K,).

    Returns:
        The centroids (K,) in ascending order, and the index (N,) of each value's centroid.
    """
    centroids = np.sort(start)
    members = nearest(values, centroids)
    for _ in range(_MAX_ROUNDS):
        counts = np.bincount(members, minlength=centroids.size)
        sums = np.bincount(members, values, minlength=centroids.size)
        means = sums / np.maximum(counts, 1)
        # An empty cluster moves to the value with the largest error.
        empty = np.flatnonzero(counts == 0)
        by_error = np.argsort(-np.abs(values - means[members]), kind="stable")
        means[empty] = values[by_error[: empty.size]]
        centroids = np.sort(means)
        before, members = members, nearest(values, centroids)
        if np.array_equal(before, members):
            break
    return centroids, members


def nearest(values: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """The index (N,) of the centroid nearest to each value; the centroids (K,) ascend."""
    return np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values)
