"""Weight clustering: the weights of a matrix share a few values, and training adjusts these.

Equations, for a matrix W whose weight n belongs to cluster a(n), and an optimizer's update ΔW::

    W(n) ← c(a(n))        c(j) ← c(j) + mean of ΔW(n) over a(n) = j

With SGD, also with momentum, a centroid therefore descends by the mean of its members' gradients.
Han et al. use the sum, which gives large clusters a larger learning rate. With Adam, each member
has its own update, and the centroid takes their mean.

K-means assigns the weights to clusters once, and the assignment stays, as in Han et al.

Reference: Han, Mao & Dally 2016, "Deep compression", section 3.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kgated.argument_checks import check_choice, check_integer
from kgated.finite_weights import check_finite_weights
from kgated.optimize.centroids import INITS, k_means
from kgated.optimize.weights import matrices, values_of


def cluster(
    model: keras.Model,
    n_clusters: int,
    init: str = "linear",
    *,
    preserve_sparsity: bool = True,
    layers: Sequence[str] | None = None,
    seed: int = 0,
) -> None:
    """Cluster the weights of each matrix in place, and keep them clustered in later training.

    The matrices are those of `kgated.prune`. A matrix with at most `n_clusters` values keeps them.
    A saved model contains the values but not the clusters: call `cluster` again after loading and
    before further training.

    Args:
        model: a built model, changed in place.
        n_clusters: the maximum number of values per matrix, including zero; at least 2.
        init: the initial centroids of k-means: "linear", evenly from the smallest weight to the
            largest; "density", with equally many weights per cluster; "kmeans++", drawn far from
            each other.
        preserve_sparsity: weights that are zero stay zero, in a separate cluster.
        layers: names of layers to cluster, including Embedding layers. None: all recurrent, Dense
            and convolution layers.
        seed: of the draws of "kmeans++".

    Raises:
        ValueError: `model` is not built or has nothing to cluster, `n_clusters` is below 2, `init`
            or a name in `layers` is unknown, or a matrix has a constraint.

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
                f"`model` has a constraint on weight `{weight.path}`, and clustering sets one: "
                "build the layer without it, or exclude the layer by `layers`"
            )
    check_finite_weights(model)
    rng = np.random.default_rng(seed)
    for weight in weights:
        shared, members = _clusters(values_of(weight), n_clusters, init, preserve_sparsity, rng)
        weight.assign(shared[members].astype("float32"))
        keeps_zero = shared == 0 if preserve_sparsity else np.zeros(shared.size, bool)
        weight.constraint = SharedValues(members, keeps_zero)
    if model.compiled:  # an already compiled training function would not apply the constraints
        model.make_train_function(force=True)


class SharedValues(keras.constraints.Constraint):
    """Sets the weights of each cluster to their mean.

    It is a constraint of Keras, so the optimizer applies it at each step, on every backend and in
    every training loop.

    Args:
        members: the index of each weight's cluster, in the weight's shape.
        keeps_zero: (K,) bool, true for clusters that stay at zero.
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
        # Sums of small differences have less rounding error than sums of the weights.
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
    """The shared values (K,) of a weight, and the index of each entry's value."""
    values, members = np.unique(weight, return_inverse=True)
    if values.size <= n:
        return values, members.reshape(weight.shape)
    flat = weight.ravel().astype(float)
    zero = (flat == 0) & preserve_sparsity
    nonzero = flat[~zero]
    nonzero_clusters = n - bool(zero.any())
    shared, nonzero_members = k_means(nonzero, INITS[init](nonzero, nonzero_clusters, rng))
    members = np.full(flat.size, nonzero_clusters)  # the cluster of zeros is the last
    members[~zero] = nonzero_members
    return np.append(shared, 0.0), members.reshape(weight.shape)
