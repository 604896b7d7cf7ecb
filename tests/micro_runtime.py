"""Every file for microcontrollers that a test makes is run in TensorFlow Lite Micro, too."""

from importlib.util import find_spec

import numpy as np
from benchmarks.micro import steps_apart
from kgated_edge import open_model

CALLS = 8
MAX_STEPS = {"int8": 4, "int16": 1024}  # of an output's integers


def check_in_micro(path, frames=None, **options):
    """Run a file in TensorFlow Lite Micro, and compare its integers with LiteRT's.

    The frames are noise by default.

    Where the package `tflite-micro` does not exist (all but Linux with Python 3.11), files are made
    and not run there.
    """
    if not find_spec("tflite_micro"):
        return
    manifest = open_model(path).manifest
    frames = _noise(manifest) if frames is None else frames
    output = manifest.outputs[0]
    limit = MAX_STEPS[output.dtype]
    apart = steps_apart(path, frames, **options)
    assert apart <= limit, f"{path.name}: {apart} steps apart, at most {limit} are allowed"


def _noise(manifest):
    rng, shape = np.random.default_rng(2), (CALLS, *manifest.blocks[0].shape)
    if manifest.frames[0].scale is None:  # tokens
        return rng.integers(0, 4, shape).astype(np.int32)
    return rng.normal(size=shape).astype(np.float32)
