"""Records the range of every tensor of a float file over calibration sequences."""

import contextlib
import io
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from kgated_edge import EdgeModel
from kgated_edge.runtime.batching import as_dict, split_steps, unwrap_single

from kgated_worker import begin

Samples = Iterable[dict[str, np.ndarray]]
Ranges = dict[str, dict[str, np.ndarray]]

MAX_SAMPLES = 4096
CHUNK = 256


def as_range(low: float, high: float, rank: int = 1) -> dict[str, np.ndarray]:
    """The range of a tensor as the quantizer takes it, with `rank` axes."""
    limits = {"min": low, "max": high}
    return {name: np.full((1,) * rank, limit, np.float32) for name, limit in limits.items()}


def record(
    edge: EdgeModel, sequences: Sequence[dict[str, np.ndarray]]
) -> list[dict[str, np.ndarray]]:
    """The inputs of a streaming file, states among them, while it runs over sequences.

    Args:
        edge: a float file, run from zero state on each sequence.
        sequences: (T, *frame) each, or (B, T, *frame) for a batch, by input name.

    Returns:
        The signature's inputs by name, with their batch axis, of at most `MAX_SAMPLES` steps,
        evenly spread.
    """
    manifest = edge.manifest
    total = sum(len(next(iter(frames.values()))) for frames in sequences)
    stride, batch = math.ceil(total / MAX_SAMPLES), manifest.batch
    samples, count = [], 0
    for frames in sequences:
        edge.reset()
        size, inputs = manifest.frames_per_step, unwrap_single(frames)
        for block in split_steps(manifest.frames, size, inputs, batch):
            if count % stride == 0:
                inputs = {**as_dict(manifest.frames, block), **edge.state}
                arrays = {name: np.array(value) for name, value in inputs.items()}
                samples.append(arrays if batch > 1 else {n: x[None] for n, x in arrays.items()})
            edge.step(block)
            count += 1
    return samples


def sample_origins(lengths: Sequence[int], frames_per_step: int) -> list[int]:
    """The number of the sequence that each sample of `record` is of.

    Args:
        lengths: of the sequences, in frames.
        frames_per_step: of the file.
    """
    stride = math.ceil(sum(lengths) / MAX_SAMPLES)
    steps = [n for n, length in enumerate(lengths) for _ in range(length // frames_per_step)]
    return steps[::stride]


def calibrate(tflite: bytes, rules: Any, samples: Samples) -> Ranges:
    """The smallest and largest value of each tensor over the samples, by the tensor's name.

    Args:
        tflite: a float file with one signature.
        rules: the quantizer's `RecipeManager`.
        samples: the signature's inputs by name.
    """
    from ai_edge_quantizer import calibrator
    from ai_edge_quantizer.utils import qsv_utils

    # Its own default is a moving average, which forgets the extremes.
    job = calibrator.Calibrator(
        tflite,
        num_threads=1,
        mode=calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED,
        qsv_update_func=qsv_utils.min_max_update,
    )
    (name,) = job.get_signature_list()
    remaining = iter(samples)
    begin("calibration, which runs the float file")
    with contextlib.redirect_stderr(io.StringIO()):  # it draws progress bars
        while chunk := list(islice(remaining, CHUNK)):
            job.calibrate({name: chunk}, rules)
    return dict(job.get_model_qsvs())


def tensor_preserving_interpreter(tflite: bytes) -> tuple[Interpreter, Callable[..., Any]]:
    """An interpreter that keeps all tensors, and the function that runs the one signature."""
    interpreter = Interpreter(
        model_content=tflite,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    (signature,) = interpreter.get_signature_list()
    return interpreter, interpreter.get_signature_runner(signature)
