"""State inside the file: variables that the signature `step` moves on and `reset` sets to zero."""

from collections.abc import Callable
from typing import Any

from kgated.deploy.streaming import StepModel
from kgated.deploy.tflite.flatbuffer import pack, parse

RESET = "reset"


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
