"""Weight clustering: each matrix has a few values, which its weights share and which are trained.

Equations, for a matrix W whose weight n belongs to cluster a(n), and an optimizer's update ΔW::

    W(n) ← c(a(n))        c(j) ← c(j) + mean of ΔW(n) over a(n) = j

So with SGD, momentum included, a centroid descends by the mean of its members' gradients. The sum
of them, as in Han et al., would be a learning rate of its own for each cluster, large for large
ones. With Adam each member's update is its own, and the centroid takes their mean.

The clusters are found once, by k-means, and keep their members, as in Han et al.

Reference: Han, Mao & Dally 2016, "Deep compression", section 3.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kgated.argument_checks import check_choice, check_integer
from kgated.optimize.centroids import INITS, k_means
from kgated.optimize.weights import matrices, values_of
from kgated.weight_checks import check_finite_weights


def cluster(
    model: keras.Model,
    n_clusters: int,
    init: str = "linear",
    *,
    preserve_sparsity: bool = True,
    layers: Sequence[str] | None = None,
    seed: int = 0,
) -> None:
    """Let the weights of each matrix share a few values, now and in every training that follows.

    The matrices are those of `kgated.prune`. The model is changed in place; a matrix that has no
    more than `n_clusters` values keeps them. What is shared is not saved with the model, only the
    values are: call `cluster` again after loading, before a training goes on.

    Args:
        model: built.
        n_clusters: values per matrix at most, at least 2, zero included.
        init: where k-means starts: "linear", from the smallest weight to the largest; "density",
            with as many weights in each cluster; "kmeans++", drawn far from each other.
        preserve_sparsity: weights that are zero stay zero, in a cluster of their own.
        layers: names of layers to cluster, Embedding possibly among them; None: all recurrent,
            Dense and convolution layers.
        seed: of the draws of "kmeans++".

    Raises:
        ValueError: `model` is not built or has nothing to cluster; `n_clusters` below 2; an unknown
            `init` or name in `layers`; a matrix with a constraint of its own.

    Example:
        >>> kgated.cluster(model, 16)
        >>> model.compile("adam", "mse")
        >>> model.fit(x, y, epochs=5)
    """
    check_integer("n_clusters", n_clusters, 2)
    check_integer("seed", seed, 0)
    check_choice("init", init, INITS)
    weights = [w for listed in matrices(model, layers).values() for w in listed]
    for weight in weights:
        if not isinstance(weight.constraint, SharedValues | None):
            raise ValueError(
                f"`model` has a constraint on weight `{weight.path}`, and clusters are another: "
                "build the layer without it, or leave the layer out by `layers`"
            )
    check_finite_weights(model)
    rng = np.random.default_rng(seed)
    for weight in weights:
        shared, members = _clusters(values_of(weight), n_clusters, init, preserve_sparsity, rng)
        weight.assign(shared[members].astype("float32"))
        keeps_zero = shared == 0 if preserve_sparsity else np.zeros(shared.size, bool)
        weight.constraint = SharedValues(members, keeps_zero)
    if model.compiled:  # a training function made before knows of no clusters
        model.make_train_function(force=True)


class SharedValues(keras.constraints.Constraint):
    """Brings weights that moved apart to the mean of each cluster.

    A constraint is applied within the optimizer's step, on every backend and in every loop.

    Args:
        members: the cluster of each weight, of the weight's shape.
        keeps_zero: (K,) clusters that stay at zero.
    """

    def __init__(self, members: np.ndarray, keeps_zero: np.ndarray) -> None:
        flat = members.ravel()
        used, self._first = np.unique(flat, return_index=True)
        self._members = np.searchsorted(used, flat).astype("int32")
        self._inverse_sizes = (1.0 / np.bincount(self._members)).astype("float32")
        self._keeps_zero = keeps_zero[used]

    def __call__(self, w: Any) -> Any:
        """The weights with one value per cluster."""
        values = ops.convert_to_tensor(w)
        flat = ops.reshape(values, (-1,))
        # Sums of small differences round less than sums of the weights themselves.
        start = ops.take(flat, self._first)
        deviations = flat - ops.take(start, self._members)
        sums = ops.segment_sum(deviations, self._members, num_segments=self._inverse_sizes.size)
        centroids = start + sums * ops.convert_to_tensor(self._inverse_sizes, values.dtype)
        keeps_zero = ops.convert_to_tensor(self._keeps_zero)
        centroids = ops.where(keeps_zero, ops.zeros_like(centroids), centroids)
        return ops.reshape(ops.take(centroids, self._members), ops.shape(values))


def _clusters(
    weight: np.ndarray, n: int, init: str, preserve_sparsity: bool, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The values (K,) that a weight's entries share, and the index of each entry's."""
    values, members = np.unique(weight, return_inverse=True)
    if values.size <= n:
        return values, members.reshape(weight.shape)
    flat = weight.ravel().astype(float)
    zero = (flat == 0) & preserve_sparsity
    nonzero = flat[~zero]
    nonzero_clusters = n - bool(zero.any())
    shared, nonzero_members = k_means(nonzero, INITS[init](nonzero, nonzero_clusters, rng))
    members = np.full(flat.size, nonzero_clusters)  # where zeros belong, after the others
    members[~zero] = nonzero_members
    return np.append(shared, 0.0), members.reshape(weight.shape)
