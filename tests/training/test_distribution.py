"""One training on two devices gives the loss curve of one; each engine in its own process."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import warm_processes

from kgated.training import data_parallel

# Prints what there is, and the losses of each epoch on one device and on two.
TRAINING = """
import json
import keras
if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import numpy as np
import kgated
from kgated.training import Recordings, carry_state, clip_after_sum, data_parallel
from kgated.training.distribution import available

rng = np.random.default_rng(0)
x = rng.normal(size=(32, 6, 3)).astype("float32")
y = (x.sum(axis=(1, 2)) > 0).astype("int32")

def training(names, prepare=clip_after_sum):
    keras.utils.set_random_seed(0)
    with data_parallel(names) as devices:
        model = keras.Sequential([
            keras.Input((None, 3)), kgated.PeepholeLSTM(8), keras.layers.Dense(2)
        ])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        optimizer = keras.optimizers.SGD(1.0, global_clipnorm=0.1)  # below the gradient's norm
        model.compile(prepare(optimizer), loss)
        held_out = (x[:16], y[:16])
        found = model.fit(x, y, batch_size=8, epochs=6, shuffle=False, validation_data=held_out,
                          verbose=0)
    return {"devices": devices, **found.history}

def carried(names):
    # The losses of a training that carries its state, or why there is none.
    keras.utils.set_random_seed(0)
    with data_parallel(names):
        model = keras.Sequential([
            keras.Input((None, 3)), kgated.GRU(8, return_sequences=True), keras.layers.Dense(2)
        ])
        try:
            twin = carry_state(model, streams=4)
        except ValueError as error:
            return str(error)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        twin.compile(keras.optimizers.SGD(1.0), loss)
        recordings = [np.tile(r, (2, 1)) for r in x[:8]]
        marks = [(np.cumsum(r.sum(axis=1)) > 0).astype("int32") for r in recordings]
        found = twin.fit(Recordings(recordings, marks, 4, 5), epochs=5, verbose=0)
    return found.history["loss"]

try:
    data_parallel(["cpu:7"]).__enter__()
except ValueError as error:
    refused = str(error)
said = {"found": available(), "one": training(["cpu:0"]), "two": training(None),
        "unprepared": training(None, lambda optimizer: optimizer), "refused": refused,
        "carried": [carried(["cpu:0"]), carried(None)]}
print(json.dumps(said))
"""


def run_training(environment):
    """The training in a separate process; it is repeated after a crash of TensorFlow.

    On a machine with a high load TensorFlow's distribution over two devices once ended by a
    segmentation fault, with this same program. An error of ours is an exception, and no signal.
    """

    def run():
        if environment["KERAS_BACKEND"] == "tensorflow":
            return warm_processes.run("-c", TRAINING, environment=environment)
        command = [sys.executable, "-c", TRAINING]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    done = run()
    if done.returncode < 0:
        print(f"the training ended by signal {-done.returncode}: run again")
        done = run()
    return done


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_two_devices_give_the_loss_curve_of_one(backend):
    pytest.importorskip(backend)
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "CUDA_VISIBLE_DEVICES": "",
    }
    run = run_training(environment)
    assert run.returncode == 0, run.stderr[-2000:]
    said = json.loads(run.stdout.splitlines()[-1])
    single, double = said["one"], said["two"]
    assert said["found"] == ["cpu:0", "cpu:1"]
    assert (single["devices"], double["devices"]) == (1, 2)
    assert said["refused"].startswith("`devices` must be among ['cpu:0', 'cpu:1']. Received")
    assert len(single["loss"]) == 6
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(double[name], single[name], rtol=0, atol=1e-4)
    assert single["loss"][0] - single["loss"][-1] > 0.01  # a curve, and no constant
    missed = abs(said["unprepared"]["loss"][-1] - single["loss"][-1])
    assert (missed > 1e-2) is (backend == "tensorflow")  # the reason for `clip_after_sum`
    carried_by_one, carried_by_two = said["carried"]
    assert carried_by_one[0] - carried_by_one[-1] > 0.01
    if backend == "jax":
        np.testing.assert_allclose(carried_by_two, carried_by_one, rtol=0, atol=1e-4)
    else:
        assert "cannot be split over `tf.distribute`" in carried_by_two
        assert carried_by_two.endswith("train on one device, or on several with the JAX backend")


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="the PyTorch backend alone")
def test_other_backends_say_what_to_do():
    with pytest.raises(ValueError, match="set KERAS_BACKEND"), data_parallel():
        pass
