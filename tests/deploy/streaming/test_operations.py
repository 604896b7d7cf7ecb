"""Operations of `keras.ops` in streams: on each frame alone, and over the sequence up to now."""

import keras
import numpy as np
import pytest
import streams
from keras import ops
from kgated_edge import EdgeModel, SequenceModel

import kgated
from kgated.deploy.streaming import step_model

T, F = 6, 4
FRAMEWISE = {
    "reductions": lambda x: [ops.mean(x, -1, keepdims=True), ops.logsumexp(x, -1, keepdims=True)],
    "shapes": lambda x: [ops.flip(x, -1), ops.stack([x, -x], 2), *ops.split(x, 2, axis=-1)],
    "choices": lambda x: [ops.where(x > 0.1, x, 0.0), ops.clip(x, -0.5, 0.5), ops.top_k(x, 2)[0]],
    "indices": lambda x: [ops.one_hot(ops.argmax(x, axis=-1), F), ops.take(x, [2, 0], axis=-1)],
    "matrices": lambda x: [ops.dot(x, np.eye(F, 2, dtype="float32")), ops.log_softmax(x)],
    "not finite": lambda x: [ops.rsqrt(ops.abs(x)), ops.log(ops.abs(x) + 1e-3)],
}
RUNNING = {
    "last": lambda x: x[:, -1],
    "part of the last": lambda x: ops.concatenate([x[:, -1, 1:], x[:, -1:, :1][:, 0]], axis=-1),
    "mean": lambda x: ops.mean(x, axis=1),
    "largest": lambda x: ops.max(x, axis=1) - ops.min(x, axis=1, keepdims=True)[:, 0],
    "sums": lambda x: ops.concatenate([ops.sum(x, axis=1), ops.cumsum(x, axis=-2)[:, -1]], axis=-1),
}


def model_of(build, length=None):
    x = keras.Input((length, F))
    return keras.Model(x, build(keras.layers.Dense(F)(x)))


@pytest.mark.parametrize("case", FRAMEWISE)
def test_operations_on_each_frame_alone_stream(case, rng):
    model = streams.randomize(model_of(FRAMEWISE[case]), rng)
    step, x = step_model(model), rng.normal(size=(T, F)).astype(np.float32)
    state = step.zeros()
    expected = [np.asarray(y) for y in keras.tree.flatten(model(x[None]))]
    for n in range(T):
        outputs = step.model({"frame": x[n : n + 1], **state})
        state = {name: outputs[name] for name in step.states}
        for name, y in zip(step.outputs, expected, strict=True):
            np.testing.assert_allclose(outputs[name], y[:, n], atol=1e-5)


@pytest.mark.parametrize("case", RUNNING)
def test_reductions_over_time_are_those_of_the_sequence_up_to_now(case, rng):
    model = streams.randomize(model_of(RUNNING[case]), rng)
    frames = rng.normal(size=(T, F)).astype(np.float32)
    streams.assert_equal(streams.stream(model, frames), streams.prefixes(model, frames))


def test_padded_frames_leave_the_results_unchanged(rng, tmp_path):
    cases = [build for case, build in FRAMEWISE.items() if case != "indices"]
    model = model_of(
        lambda x: kgated.GRU(3)(ops.concatenate([y for b in cases for y in results(b(x))], -1))
    )
    streams.randomize(model, rng)
    kgated.to_tflite(model, tmp_path / "m.tflite", mode="sequence", max_length=T)
    edge = SequenceModel(tmp_path / "m.tflite")
    for length in (2, T):
        x = rng.normal(size=(length, F)).astype(np.float32)
        np.testing.assert_allclose(edge.run(x), np.asarray(model(x[None]))[0], atol=1e-4)


def results(values):
    """The results of a case, those of more than one number per feature as more features."""
    return [y if len(y.shape) == 3 else ops.squeeze(y[:, :, :1], 2) for y in values]


def test_a_running_mean_stays_in_float_by_its_name(rng, tmp_path):
    model = streams.randomize(model_of(lambda x: ops.mean(x, axis=1)), rng)
    name = next(o.name for o in model.operations if type(o).__name__ == "Mean")
    x = rng.normal(size=(4, T, F)).astype(np.float32)
    options = {"quantize": "int8", "calibration": x}
    with pytest.raises(kgated.errors.ConversionError, match=rf"`skip=\['{name}'\]`"):
        kgated.to_tflite(model, tmp_path / "m.tflite", **options)
    kgated.to_tflite(model, tmp_path / "m.tflite", skip=[name], **options)
    edge = EdgeModel(tmp_path / "m.tflite")
    outputs = [edge.step(frame) for frame in x[0]]
    np.testing.assert_allclose(outputs[-1], np.asarray(model(x[:1]))[0], atol=0.1)
