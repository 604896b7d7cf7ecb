"""Converts a graph of fixed shapes to a float TFLite file of builtin operators."""

import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from kgated_edge.format.manifest import SIGNATURES

from kgated.deploy.lowering.result_names import name_results, traced_name
from kgated.deploy.recipe import Recipe
from kgated.deploy.sequence.graph import SequenceGraph
from kgated.deploy.streaming import StepModel
from kgated.deploy.tflite.cleanup import deduplicate_subgraphs
from kgated.deploy.tflite.flatbuffer import parse
from kgated.deploy.tflite.layer_table import scope_name
from kgated.deploy.tflite.lstm_operator import write_fused
from kgated.deploy.worker import convert_in_worker
from kgated.errors import ConversionError, cause, naming_layer
from kgated.keras_internals.graph import run_on
from kgated.keras_internals.patches import builtin_operators, exact_addition

RESET = "reset"


def lower(
    graph: StepModel | SequenceGraph, recipe: Recipe, has_markers: bool = False
) -> schema.ModelT:
    """The float file of a graph of fixed shapes, parsed, without manifest.

    Needs the TensorFlow backend of Keras.

    Args:
        graph: what to convert.
        recipe: with every choice made.
        has_markers: whether the graph has layers of `from_qat.markers`; then so has the file.

    Raises:
        ConversionError: the converter refuses the graph or crashes, or an op is no builtin.
    """
    names: dict[str, str] = {}
    try:
        model = parse(_convert(graph, recipe, has_markers or recipe.lowering == "fused", names))
    except Exception as error:
        raise ConversionError(
            f"the TFLite converter failed with recipe {recipe.name}: {_reason(error)}"
        ) from error
    name_results(model, names)
    if recipe.state == "internal":
        put_step_first(model)
    elif recipe.block > 1:
        deduplicate_subgraphs(model)
    elif recipe.lowering == "fused":
        write_fused(model)
    elif recipe.lowering == "while":
        deduplicate_subgraphs(model)
    return model


def _reason(error: Exception) -> str:
    """Which operators of which layers have no builtin, or else what the converter says first."""
    locations = re.findall(r'error: loc\((?:callsite\()?fused\["(\w+):", "([^"/]+)/', str(error))
    names = sorted({f"{operator} (layer `{layer}`)" for operator, layer in locations})
    if not names:
        return cause(error)
    return f"no builtin operator computes {', '.join(names)}; compute it before the model"


def _convert(
    graph: StepModel | SequenceGraph, recipe: Recipe, allow_custom: bool, names: dict[str, str]
) -> bytes:
    """The converted file; `names` receives the operation of each result, see `traced_name`."""
    import tensorflow as tf

    module = tf.Module()
    functions = _functions(module, graph, recipe, names)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, f"{folder}/saved", signatures=functions)
        return convert_in_worker(Path(folder), list(functions), allow_custom)


def _functions(
    module: Any, graph: StepModel | SequenceGraph, recipe: Recipe, names: dict[str, str]
) -> dict[str, Any]:
    """A concrete function by signature name; `names` as in `_convert`."""
    import tensorflow as tf

    # Weights go in as constants: a frozen graph needs no variables in the file.
    constants = [(v, tf.constant(np.asarray(v))) for v in graph.model.variables]

    @tf.function
    def call(**tensors: Any) -> dict[str, Any]:
        with keras.StatelessScope(state_mapping=constants):
            outputs = call_in_scopes(graph.model, tensors, graph.owners)
        names.update({name: traced_name(tensor) for name, tensor in outputs.items()})
        return {name: tf.identity(tensor) for name, tensor in outputs.items()}

    if isinstance(graph, StepModel) and recipe.state == "internal":
        return stateful_functions(module, graph, call)
    specs = {n: tf.TensorSpec(x.shape, x.dtype, name=n) for n, x in graph.model.input.items()}
    return {SIGNATURES[recipe.mode]: call.get_concrete_function(**specs)}


def stateful_functions(module: Any, step: StepModel, call: Callable[..., Any]) -> dict[str, Any]:
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
        results = call(**frames, **{name: state.read_value() for name, state in states.items()})
        for name, state in states.items():
            state.assign(results[name])
        return {name: results[name] for name in step.outputs}

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


def put_step_first(model: schema.ModelT) -> None:
    """Put the step first, among the signatures and in the subgraph that an interpreter runs.

    The converter sorts signatures by name. A caller who names none would reset the state instead.
    """
    entries = {entry.signatureKey: entry for entry in model.signatureDefs}
    (step, reset), graphs = (entries[b"step"], entries[RESET.encode()]), model.subgraphs
    assert {step.subgraphIndex, reset.subgraphIndex} == {0, 1}, "no other subgraph moves"
    if step.subgraphIndex == 1:
        graphs[0], graphs[1] = graphs[1], graphs[0]
        step.subgraphIndex, reset.subgraphIndex = 0, 1
    model.signatureDefs = [step, reset]


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

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        # Keras numbers its scopes: `dense_1` may be the second call of `dense`. The slash at the
        # end makes TensorFlow take the name as it is.
        scope = tf.name_scope(scope_name(names.get(operation.name, operation.name)) + "/")
        with scope, naming_layer(operation):
            return operation(*args, **kwargs)

    with exact_addition(), builtin_operators():
        outputs = run_on(model, keras.tree.flatten(inputs), call)
    return dict(keras.tree.pack_sequence_as(model.output, keras.tree.flatten(outputs)))
