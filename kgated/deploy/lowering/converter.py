"""A graph of fixed shapes becomes a flatbuffer of builtin ops; calls the converter."""

import re
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kgated.deploy import internal
from kgated.deploy.recipe import Recipe
from kgated.deploy.sequence.graph import SequenceGraph
from kgated.deploy.share import share_subgraphs
from kgated.deploy.streaming import StepModel
from kgated.deploy.tflite.layer_names import call_in_scopes
from kgated.deploy.tflite.lstm_operator import write_fused
from kgated.deploy.worker import convert_apart
from kgated.errors import ConversionError, first_line

SIGNATURES = {"stream": "step", "sequence": "serve"}


def lower(graph: StepModel | SequenceGraph, recipe: Recipe, marked: bool = False) -> bytes:
    """The float `.tflite` file of a graph of fixed shapes, without manifest.

    Where the graph is `marked`, as by `Mark`, so is the file.

    Needs the TensorFlow backend of Keras.

    Raises:
        ConversionError: the converter refuses the graph or crashes, or an op is no builtin.
    """
    try:
        return _float_flatbuffer(graph, recipe, marked)
    except Exception as error:
        raise ConversionError(
            f"the TFLite converter failed with recipe {recipe.name}: {_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    """Which operators of which layers have no builtin, or else what the converter says first."""
    found = re.findall(r'error: loc\((?:callsite\()?fused\["(\w+):", "([^"/]+)/', str(error))
    named = sorted({f"{operator} (layer `{layer}`)" for operator, layer in found})
    if not named:
        return first_line(error)
    return f"no builtin operator computes {', '.join(named)}; compute it before the model"


def _float_flatbuffer(graph: StepModel | SequenceGraph, recipe: Recipe, marked: bool) -> bytes:
    import tensorflow as tf

    module = tf.Module()
    # Weights go in as constants: a frozen graph needs no variables in the file.
    constants = [(v, tf.constant(np.asarray(v))) for v in graph.model.variables]

    @tf.function
    def call(**tensors: Any) -> dict[str, Any]:
        with keras.StatelessScope(state_mapping=constants):
            outputs = call_in_scopes(graph.model, tensors, graph.owners)
        return {name: tf.identity(tensor) for name, tensor in outputs.items()}

    specs = {n: tf.TensorSpec(x.shape, x.dtype, name=n) for n, x in graph.model.input.items()}
    if isinstance(graph, StepModel) and recipe.state == "internal":
        return internal.step_first(_convert(module, internal.signatures(module, graph, call)))
    signatures = {SIGNATURES[recipe.mode]: call.get_concrete_function(**specs)}
    if recipe.lowering == "fused":
        return write_fused(_convert(module, signatures, marks=True))
    tflite = _convert(module, signatures, marked)
    return share_subgraphs(tflite) if recipe.lowering == "while" else tflite


def _convert(module: Any, signatures: dict[str, Any], marks: bool = False) -> bytes:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, f"{folder}/saved", signatures=signatures)
        return convert_apart(Path(folder), list(signatures), marks)
