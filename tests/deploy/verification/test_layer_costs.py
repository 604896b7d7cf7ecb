"""The layer whose quantization costs most is found."""

import keras
import numpy as np

from kgated import steps
from kgated.deploy import Recipe
from kgated.deploy.lowering.converter import lower
from kgated.deploy.manifest_writer import embed
from kgated.deploy.metadata import ConversionOptions, build_manifest, frames_of
from kgated.deploy.quantization.worker_job import QuantizationJob, quantized_file
from kgated.deploy.streaming import step_model
from kgated.deploy.tflite.layer_table import LayerTable
from kgated.deploy.verification.layer_costs import layer_costs
from kgated.deploy.verification.reference import Reference
from kgated.deploy.verification.targets import TargetStream


def test_the_layer_with_outliers_costs_most(tmp_path, rng):
    x = rng.normal(size=(4, 12, 5)).astype(np.float32)
    layers = [
        keras.layers.Dense(8, activation="tanh", name="plain"),
        keras.layers.Dense(8, name="outliers"),
        keras.layers.Dense(3, name="last"),
    ]
    model = keras.Sequential([keras.Input((None, 5)), *layers])
    kernel, bias = model.get_layer("plain").get_weights()
    kernel[:, 0] = 0.0
    model.get_layer("plain").set_weights([kernel, bias])
    kernel, bias = model.get_layer("outliers").get_weights()
    kernel[0] = 50.0  # of an input that is always 0: it takes the scale from the other weights
    model.get_layer("outliers").set_weights([kernel, bias])
    step, recipe = step_model(model, steps.affine), Recipe(quantize="int8")
    target = TargetStream(Reference.of(model, step))
    sequences = target.sequences(x, frames_of(step))
    options = ConversionOptions(recipe, calibration=x)
    manifest = build_manifest(model, recipe, step, target.golden(sequences), options)
    lowered, path = lower(step, recipe), tmp_path / "float.tflite"
    content, table = embed(lowered, manifest), LayerTable.from_names(lowered)
    path.write_bytes(content)
    samples = target.samples(path, sequences).inputs
    costs = layer_costs(
        lambda recipe: quantized_file(QuantizationJob(content, table, recipe, samples)),
        recipe,
        ["plain", "outliers", "last"],
        target,
        sequences,
    )
    assert costs[0].layer == "outliers"
    assert costs[0].rmse_saved > 2 * abs(costs[1].rmse_saved)
    assert costs[0].agreement.relative_rmse < 0.1
    assert {cost.layer for cost in costs} == {"plain", "outliers", "last"}
