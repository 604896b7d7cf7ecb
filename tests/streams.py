"""A step model run over a sequence, and Keras's own answer to every prefix of it."""

import keras
import numpy as np

from kgated.deploy.streaming import step_model


def randomize(model, rng):
    """Every weight away from its initial value, so that none can be forgotten unnoticed."""
    for weight in model.weights:
        value = np.asarray(keras.ops.convert_to_numpy(weight)) + rng.normal(0, 0.3, weight.shape)
        weight.assign(np.abs(value) + 0.1 if "variance" in weight.path else value)
    return model


def by_input(step, frames):
    return frames if isinstance(frames, dict) else {step.frames[0]: frames}


def stream(model, frames, forget=()):
    """The step model's outputs after each block of the frames, in the model's order.

    Args:
        frames: (T, ...), or by input name.
        forget: states to set to zero before every step.
    """
    step = step_model(model)
    size, zeros = step.frames_per_step, step.zeros()
    state, results = zeros, []
    arrays = by_input(step, frames)
    for start in range(0, len(next(iter(arrays.values()))) - size + 1, size):
        blocks = {name: x[start : start + size] for name, x in arrays.items()}
        blocks = {name: x[None] if size > 1 else x for name, x in blocks.items()}
        tensors = {name: keras.ops.convert_to_tensor(x) for name, x in blocks.items()}
        next_state = {name: zeros[name] if name in forget else x for name, x in state.items()}
        result = step.model({**tensors, **next_state})
        state = {name: result[name] for name in step.states}
        results.append([keras.ops.convert_to_numpy(result[name])[0] for name in step.outputs])
    return [np.stack(column) for column in zip(*results, strict=True)]


def prefixes(model, frames, size=1):
    """What Keras says last of each prefix of whole blocks, for each output of the model.

    A result with a time axis of its own is one of rank 3 or more here.
    """
    arrays = list(frames.values()) if isinstance(frames, dict) else [frames]
    results_of_prefixes = []
    for end in range(size, len(arrays[0]) + 1, size):
        inputs = [x[None, :end] for x in arrays]
        outputs = keras.tree.flatten(model(inputs if len(inputs) > 1 else inputs[0]))
        results = [keras.ops.convert_to_numpy(y)[0] for y in outputs]
        results_of_prefixes.append([y[-1] if y.ndim > 1 else y for y in results])
    return [np.stack(column) for column in zip(*results_of_prefixes, strict=True)]


def assert_equal(streamed, reference):
    for actual, expected in zip(streamed, reference, strict=True):
        assert actual.shape == expected.shape
        np.testing.assert_allclose(
            actual, expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max())
        )


def stream_outputs_have_time(model):
    """For each output of the model whether it has a result per frame."""
    return step_model(model).has_time
