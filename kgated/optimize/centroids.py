"""Few values for many weights: k-means in one dimension.

Equations, for weights w and centroids c, until no weight changes its cluster::

    a(n) ← argmin_j |w(n) - c(j)|        c(j) ← mean of the w(n) with a(n) = j

Reference: Lloyd 1982; Arthur & Vassilvitskii 2007 for "kmeans++"; Han et al. 2016 for the others.
"""

from collections.abc import Callable

import numpy as np

_MAX_ROUNDS = 100


def linear(values: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Evenly from the smallest value to the largest: the few large weights get theirs too."""
    return np.linspace(values.min(), values.max(), n)


def density(values: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Evenly over the distribution: each starts with as many weights."""
    return np.quantile(values, (np.arange(n) + 0.5) / n)


def kmeans_pp(values: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Each drawn with a chance in proportion to its squared distance from those before."""
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
    """Clusters of values (N,) from where the centroids (K,) start.

    Returns:
        The centroids (K,) in ascending order, and of each value the index of its own (N,).
    """
    centroids = np.sort(start)
    members = nearest(values, centroids)
    for _ in range(_MAX_ROUNDS):
        counts = np.bincount(members, minlength=centroids.size)
        sums = np.bincount(members, values, minlength=centroids.size)
        means = sums / np.maximum(counts, 1)
        # A cluster without members goes to where the error is largest.
        empty = np.flatnonzero(counts == 0)
        far = np.argsort(-np.abs(values - means[members]), kind="stable")
        means[empty] = values[far[: empty.size]]
        centroids = np.sort(means)
        before, members = members, nearest(values, centroids)
        if np.array_equal(before, members):
            break
    return centroids, members


def nearest(values: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Of each value (N,) the index of the nearest of the ascending centroids (K,)."""
    return np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values)
