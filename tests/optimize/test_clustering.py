"""Clustering: k-means against brute force, shared values while training, then zeros in a file."""

import gzip
import itertools

import keras
import numpy as np
import pytest
from model_builders import compiled, fit_noise

import kgated
from kgated.deploy.tflite import flatbuffer
from kgated.optimize import ConstantSparsity
from kgated.optimize.centroids import INITS, k_means


def kernels(model):
    return {
        f"{n}/{w.name}": keras.ops.convert_to_numpy(w)
        for n, w in enumerate(model.weights)
        if w.name in {"kernel", "recurrent_kernel", "projection_kernel"}
    }


def same_partition(a, b):
    """Whether entries equal in `a` are the entries equal in `b`."""
    _, a = np.unique(a, return_inverse=True)
    _, b = np.unique(b, return_inverse=True)
    return len(set(zip(a.ravel(), b.ravel(), strict=True))) == a.max() + 1 == b.max() + 1


def squared_error(values, centroids, members):
    return np.sum((values - centroids[members]) ** 2)


@pytest.mark.parametrize("init", INITS)
def test_k_means_ends_where_no_value_gains_by_moving(rng, init):
    values = rng.normal(size=500)
    centroids, members = k_means(values, INITS[init](values, 8, rng))
    for j in range(8):
        if np.any(members == j):
            assert centroids[j] == pytest.approx(values[members == j].mean())
    distances = np.abs(values[:, None] - centroids)
    np.testing.assert_array_equal(members, distances.argmin(axis=1))


def test_k_means_finds_the_best_of_all_cuts(rng):
    values = np.sort(np.concatenate([rng.normal(m, 0.1, 5) for m in (-2, 0.5, 3)]))
    best = min(
        sum(np.sum((part - part.mean()) ** 2) for part in np.split(values, cuts))
        for cuts in itertools.combinations(range(1, 15), 2)
    )
    for init in INITS.values():
        actual = squared_error(values, *k_means(values, init(values, 3, rng)))
        assert actual == pytest.approx(best)


@pytest.mark.slow
def test_weights_share_values_through_a_training(rng):
    model = compiled(keras.layers.Bidirectional(kgated.PeepholeLSTM(8)))
    fit_noise(model, rng, epochs=1)  # a training function that knows of no clusters
    kgated.cluster(model, 6)
    start = kernels(model)
    fit_noise(model, rng)
    for name, weight in kernels(model).items():
        assert np.unique(start[name]).size == 6
        assert np.all(weight != start[name]), f"{name} was not trained"
        assert same_partition(weight, start[name]), name


def test_a_centroid_descends_by_the_mean_of_its_members_gradients(rng):
    """The oracle: the model with no clusters, one step of SGD, its weights averaged by hand."""
    model = compiled(kgated.LSTM(4), optimizer=keras.optimizers.SGD(20.0))
    kgated.cluster(model, 4)
    free = keras.models.clone_model(model)
    free.compile(keras.optimizers.SGD(20.0), "mse")
    free.set_weights(model.get_weights())
    x = rng.normal(size=(6, 3, 8)).astype(np.float32)
    y = rng.normal(size=(6, 4)).astype(np.float32)
    start = kernels(model)
    for network in (model, free):
        network.fit(x, y, batch_size=6, verbose=0)
    for name, moved in kernels(free).items():
        expected = start[name].copy()
        for value in np.unique(start[name]):
            expected[start[name] == value] = moved[start[name] == value].mean()
        np.testing.assert_allclose(kernels(model)[name], expected, atol=1e-5)
        assert np.abs(expected - start[name]).max() > 1e-3


def test_zeros_stay_and_can_be_let_go(rng):
    model = compiled(keras.layers.GRU(8))
    fit_noise(model, rng, kgated.prune(model, ConstantSparsity(0.5, 0)))
    pruned = kernels(model)
    kgated.cluster(model, 5, "density")
    clustered = kernels(model)
    fit_noise(model, rng)
    for name, weight in kernels(model).items():
        np.testing.assert_array_equal(weight == 0, pruned[name] == 0)
        assert same_partition(weight, clustered[name])
        assert np.unique(weight).size == 5
        assert not np.any(np.signbit(weight[weight == 0])), "-0.0 compresses badly"
    kgated.cluster(model, 5, preserve_sparsity=False)
    fit_noise(model, rng)
    assert not any(kgated.sparsity(model).values())


def test_a_loaded_model_trains_on_in_its_clusters(rng, tmp_path):
    model = compiled(keras.layers.Dense(8), features=4)
    kgated.cluster(model, 4, "kmeans++")
    fit_noise(model, rng)
    model.save(tmp_path / "clustered.keras")
    loaded = keras.saving.load_model(tmp_path / "clustered.keras")
    kgated.cluster(loaded, 4)
    for name, weight in kernels(loaded).items():
        np.testing.assert_array_equal(weight, kernels(model)[name])
    fit_noise(loaded, rng)
    assert all(np.unique(weight).size == 4 for weight in kernels(loaded).values())


def test_what_cannot_be_clustered_is_refused():
    model = compiled(keras.layers.Dense(8))
    bound = compiled(keras.layers.Dense(8, kernel_constraint="non_neg"))
    for call, words in [
        (lambda: kgated.cluster(model, 1), "`n_clusters`"),
        (lambda: kgated.cluster(model, 4, "random"), "`init`"),
        (lambda: kgated.cluster(model, 4, layers=["gru"]), "`layers`"),
        (lambda: kgated.cluster(bound, 4), "constraint"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
    kgated.cluster(model, 4)
    with pytest.raises(ValueError, match="before it is clustered"):
        kgated.prune(model, ConstantSparsity(0.5, 0))


def int8_weights(path):
    """The values of all int8 constants of a file."""
    model = flatbuffer.parse(path.read_bytes())
    constants = [
        np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.int8)
        for subgraph in model.subgraphs
        for tensor in subgraph.tensors
        if flatbuffer.type_name(tensor) == "int8" and model.buffers[tensor.buffer].data is not None
    ]
    return np.concatenate(constants)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="conversion is tested once")
def test_zeros_reach_the_file_and_shrink_it(rng, tmp_path):
    model = compiled(kgated.LSTM(64), features=64)
    size = {}
    for step in ("dense", "pruned", "clustered"):
        if step == "pruned":
            fit_noise(model, rng, kgated.prune(model, ConstantSparsity(0.75, 0)), epochs=1)
        if step == "clustered":
            kgated.cluster(model, 16)
            fit_noise(model, rng, epochs=1)
        path = tmp_path / f"{step}.tflite"
        kgated.to_tflite(model, path, quantize="dynamic")
        size[step] = len(gzip.compress(path.read_bytes()))
        zeros = sum(int(np.sum(weight == 0)) for weight in kernels(model).values())
        weights = int8_weights(path)
        assert weights.size >= 2 * 64 * 256
        assert np.sum(weights == 0) >= zeros
        assert (zeros > 0.7 * weights.size) == (step != "dense")
    assert size["pruned"] < 0.55 * size["dense"]
    assert size["clustered"] < size["pruned"]
