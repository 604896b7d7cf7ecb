"""Run by interop/test_tf_keras.py in a separate process: results of the twins as JSON on stdout.

tfmot changes the process that imports it; here nothing is asserted, only told.
"""

import json
import os
import sys
from pathlib import Path

import keras
import numpy as np
import reference
import registry
import tensorflow as tf

import kgated
from kgated.interop.tf_keras import (
    RecurrentQuantizeConfig,
    TwinGRU,
    TwinLSTM,
    TwinMinGRU,
    TwinMinLSTM,
    TwinPeepholeLSTM,
    from_tf_keras,
    scope,
    tf_keras,
    tfmot,
    to_tf_keras,
)
from kgated.models import sequence_classifier

TWINS = {
    kgated.LSTM: TwinLSTM,
    kgated.PeepholeLSTM: TwinPeepholeLSTM,
    kgated.GRU: TwinGRU,
    kgated.MinGRU: TwinMinGRU,
    kgated.MinLSTM: TwinMinLSTM,
}
X = np.random.default_rng(0).normal(size=(4, 6, 5)).astype(np.float32)
Y = np.random.default_rng(1).normal(size=(4, 6, 3)).astype(np.float32)


def largest_error(a, b):
    return float(np.abs(np.asarray(a, np.float64) - np.asarray(b)).max())


def against_oracle():
    """The largest error of each row of the registry, then with the first two gates swapped."""
    x = np.random.default_rng(2).normal(size=(2, 4, 3)).astype(np.float32)
    results = {}
    for row in registry.ROWS:
        layer = row.build(np.random.default_rng(3), return_sequences=True)
        tf_layer = TWINS[row.layer](registry.UNITS, return_sequences=True, **row.options)
        tf_layer.build(x.shape)
        tf_layer.set_weights(layer.get_weights())
        exact = row.oracle(x, {w.name: np.asarray(w) for w in layer.weights})[0]
        right = largest_error(tf_layer(x), exact)
        kernel, *others = tf_layer.get_weights()
        n = registry.UNITS
        swapped = np.concatenate([kernel[:, n : 2 * n], kernel[:, :n], kernel[:, 2 * n :]], axis=1)
        tf_layer.set_weights([swapped, *others])
        results[str(row)] = [right, largest_error(tf_layer(x), exact)]
    return results


def there_and_back():
    """Errors of models that go there and back, and whether each weight has the same bits."""
    frames = np.where(np.arange(6)[:, None] < 4, X, 0).astype(np.float32)
    classifier = sequence_classifier(
        kgated.PeepholeLSTM, frames=X.reshape(-1, 5), classes=3, units=4, layers=2
    )
    layers = keras.layers
    both = keras.Sequential(
        [
            keras.Input((6, 5)),
            layers.Conv1D(4, 3, padding="causal", kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.Bidirectional(kgated.GRU(4, return_sequences=True), merge_mode="sum"),
            layers.Bidirectional(layers.LSTM(3)),
        ]
    )
    x = keras.Input((None, 5))
    y = kgated.LSTM(4, coupled_gates=True, return_sequences=True)(x)
    merged = layers.Concatenate()([layers.Add()([y, layers.Dense(4)(y)]), y])
    graph = keras.Model(x, layers.Dense(2)(merged))
    results = []
    for model, data in ((classifier, frames), (both, X), (graph, X)):
        tf_model = to_tf_keras(model)
        back = from_tf_keras(tf_model)
        mine = {w.path.split("/", 1)[1]: w for w in model.weights if "scale" not in w.path}
        reference = {w.path.split("/", 1)[1]: w for w in back.weights if "scale" not in w.path}
        same = [
            np.array_equal(a, b) for a, b in zip(mine.values(), reference.values(), strict=True)
        ]
        errors = largest_error(tf_model(data), model(data)), largest_error(back(data), model(data))
        results.append([*errors, all(same)])
    return results


def model_of(layer_class, annotate=None, **options):
    layer = layer_class(4, return_sequences=True, dropout=0.1, recurrent_dropout=0.1, **options)
    layers = [tf_keras.layers.InputLayer((6, 5)), annotate(layer) if annotate else layer]
    return tf_keras.Sequential([*layers, tf_keras.layers.Dense(3)])


def fitted(model, *callbacks):
    model.compile("sgd", "mse")
    loss = model.fit(X, Y, batch_size=2, epochs=2, verbose=0, callbacks=callbacks).history["loss"]
    return loss


def reloaded(model, path):
    model.save(path)
    with scope():
        again = tf_keras.models.load_model(path)
    return again, largest_error(again.predict(X, verbose=0), model.predict(X, verbose=0))


def pruned(folder):
    tool = tfmot.sparsity.keras
    model = tool.prune_low_magnitude(
        model_of(TwinPeepholeLSTM), pruning_schedule=tool.ConstantSparsity(0.5, 0, frequency=1)
    )
    fitted(model, tool.UpdatePruningStep())
    again, error = reloaded(model, folder / "pruned.keras")
    plain = from_tf_keras(tool.strip_pruning(again))
    error = max(error, largest_error(plain(X), model.predict(X, verbose=0)))
    return kgated.sparsity(plain), error


def clustered(folder):
    tool = tfmot.clustering.keras
    start = tool.CentroidInitialization.LINEAR
    model = tool.cluster_weights(
        model_of(TwinGRU), number_of_clusters=4, cluster_centroids_init=start
    )
    fitted(model)
    again, error = reloaded(model, folder / "clustered.keras")
    plain = from_tf_keras(tool.strip_clustering(again))
    error = max(error, largest_error(plain(X), model.predict(X, verbose=0)))
    return [len(np.unique(w)) for w in plain.layers[1].get_weights()[:2]], error


def quantized(folder):
    tool = tfmot.quantization.keras

    def annotate(layer):
        return tool.quantize_annotate_layer(layer, RecurrentQuantizeConfig())

    with scope():
        model = tool.quantize_apply(model_of(TwinLSTM, annotate, projection_units=3))
    fitted(model)
    again, error = reloaded(model, folder / "quantized.h5")  # tfmot's own layers need HDF5
    wrapper = next(layer for layer in again.layers if "twin" in layer.name)
    held = {w.name.split("/")[-1].split(":")[0]: w.numpy() for w in wrapper.weights}
    weights = {name: held[name] for name in ("bias", "projection_kernel")}
    for name in ("kernel", "recurrent_kernel"):
        step = held[f"{name}_max"] / 127
        weights[name] = np.round(held[name] / step).clip(-127, 127) * step
    exact = reference.lstm(X, weights)[0]
    step = (held["output_max"] - held["output_min"]) / 255
    outputs = tf_keras.Model(again.inputs, wrapper.output)
    off = largest_error(outputs(X), exact.clip(held["output_min"], held["output_max"])) / step
    return float(off), error


def both_ways_pruned():
    tool = tfmot.sparsity.keras
    tf_model = to_tf_keras(
        keras.Sequential([keras.Input((6, 5)), keras.layers.Bidirectional(kgated.LSTM(4))])
    )
    model = tool.prune_low_magnitude(
        tf_model, pruning_schedule=tool.ConstantSparsity(0.75, 0, frequency=1)
    )
    model.compile("sgd", "mse")
    model.fit(X, Y[:, 0, [0] * 8], verbose=0, callbacks=[tool.UpdatePruningStep()])
    return kgated.sparsity(from_tf_keras(tool.strip_pruning(model)))


def schedules():
    """Their schedules and ours, [due, share] at each step."""
    options = {"begin_step": 4, "end_step": 40, "frequency": 3}
    reference, results = tfmot.sparsity.keras, []
    for tool in reference, kgated.optimize:
        both = tool.PolynomialDecay(0.1, 0.9, **options), tool.ConstantSparsity(0.7, **options)
        values = [schedule(step) for schedule in both for step in range(50)]
        results.append([[bool(due), float(sparsity)] for due, sparsity in values])
    return results


def by_their_schedules():
    model = keras.Sequential([keras.Input((6, 5)), kgated.GRU(4), keras.layers.Dense(3)])
    model.compile("sgd", "mse", jit_compile=False)
    schedule = tfmot.sparsity.keras.PolynomialDecay(0.0, 0.75, 0, 2, frequency=1)
    model.fit(X, Y[:, 0], batch_size=2, verbose=0, callbacks=[kgated.prune(model, schedule)])
    return kgated.sparsity(model)


def message(call, *arguments):
    try:
        call(*arguments)
    except (TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


def refused():
    chain = keras.Sequential([keras.Input((3, 4)), keras.layers.Conv1DTranspose(3, 2, name="up")])
    half = keras.Sequential([keras.Input((3, 4)), kgated.LSTM(3, dtype="mixed_bfloat16", name="h")])
    wrapped = tfmot.sparsity.keras.prune_low_magnitude(model_of(TwinGRU))
    return [
        message(to_tf_keras, chain),
        message(to_tf_keras, half),
        message(to_tf_keras, "model.keras"),
        message(from_tf_keras, wrapped),
    ]


def main(folder):
    facts = {
        "oracle": against_oracle(),
        "there_and_back": there_and_back(),
        "pruned": pruned(folder),
        "clustered": clustered(folder),
        "quantized": quantized(folder),
        "both_ways": both_ways_pruned(),
        "schedules": schedules(),
        "by_schedule": by_their_schedules(),
        "refused": refused(),
        "switch": os.environ.get("TF_USE_LEGACY_KERAS"),
        "tf.keras": tf.keras.__version__,
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
