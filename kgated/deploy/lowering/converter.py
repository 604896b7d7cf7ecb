"""A graph of fixed shapes becomes a flatbuffer of builtin ops; calls the converter."""

import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kgated.deploy.lowering import converter
from kgated.deploy.recipe import Recipe
from kgated.deploy.sequence.graph import SequenceGraph
from kgated.deploy.streaming import StepModel
from kgated.deploy.tflite.cleanup import share_subgraphs
from kgated.deploy.tflite.flatbuffer import pack, parse
from kgated.deploy.tflite.layer_names import scope
from kgated.deploy.tflite.lstm_operator import write_fused
from kgated.deploy.worker import convert_apart
from kgated.errors import ConversionError, first_line
from kgated.keras_graph import exact_addition, run_on

RESET = "reset"


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
        return converter.step_first(_convert(module, converter.signatures(module, graph, call)))
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


def signatures(module: Any, step: StepModel, call: Callable[..., Any]) -> dict[str, Any]:
    """Functions over the frames alone, and over nothing, for a file that keeps its state.

    Args:
        module: a `tf.Module`, which the variables are put into.
        step: the step model.
        call: `call(**frames, **states)` gives the outputs and the new states by name.

    Returns:
        A concrete function by signature name.
    """
    import tensorflow as tf

    zeros = {name: tf.zeros(step.model.input[name].shape) for name in step.states}
    module.states = states = {name: tf.Variable(zero) for name, zero in zeros.items()}

    @tf.function
    def advance(**frames: Any) -> dict[str, Any]:
        found = call(**frames, **{name: state.read_value() for name, state in states.items()})
        for name, state in states.items():
            state.assign(found[name])
        return {name: found[name] for name in step.outputs}

    @tf.function
    def reset() -> dict[str, Any]:
        for name, state in states.items():
            state.assign(zeros[name])
        return {"done": tf.constant(0.0)}  # a signature must have an output

    frames = {name: step.model.input[name] for name in step.frames}
    specs = {name: tf.TensorSpec(x.shape, x.dtype, name=name) for name, x in frames.items()}
    return {
        "step": advance.get_concrete_function(**specs),
        RESET: reset.get_concrete_function(),
    }


def step_first(tflite: bytes) -> bytes:
    """The same file with the step in the place of the subgraph that an interpreter runs.

    The converter sorts signatures by name, and so puts `reset` there.
    """
    model = parse(tflite)
    found = {one.signatureKey: one for one in model.signatureDefs}
    (first, second), graphs = (found[b"step"], found[RESET.encode()]), model.subgraphs
    assert {first.subgraphIndex, second.subgraphIndex} == {0, 1}, "the rest stays where it is"
    if first.subgraphIndex == 1:
        graphs[0], graphs[1] = graphs[1], graphs[0]
        first.subgraphIndex, second.subgraphIndex = 0, 1
    return pack(model, len(tflite))


def call_in_scopes(
    model: keras.Model, inputs: dict[str, Any], names: Mapping[str, str]
) -> dict[str, Any]:
    """Call a functional model under TensorFlow, each layer in a scope that is its name exactly.

    Args:
        model: a model from a dict of tensors to a dict of tensors.
        inputs: TensorFlow tensors by name.
        names: other names for some layers, by the one that they have in `model`.
    """
    import tensorflow as tf

    def scoped(operation: Any, *args: Any, **kwargs: Any) -> Any:
        # Keras counts its scopes up: `dense_1` may be the second call of `dense`. The stroke at
        # the end makes TensorFlow take the name as it is.
        with tf.name_scope(scope(names.get(operation.name, operation.name)) + "/"):
            return operation(*args, **kwargs)

    with exact_addition():
        outputs = run_on(model, keras.tree.flatten(inputs), scoped)
    return dict(keras.tree.pack_sequence_as(model.output, keras.tree.flatten(outputs)))
