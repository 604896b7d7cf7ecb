"""The quantization points of a model, found by one run on symbolic inputs."""

import contextlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops

from kgated.keras_internals.graph import trace_function
from kgated.optimize.qat.fake_quant import SCHEMES, QuantParams
from kgated.optimize.qat.forward import ForwardState, PointFinder, Points
from kgated.optimize.qat.quantizer import Context

FEW_FRAMES = 8


def find_points(
    run: Callable[[list[Any], Context], Any],
    inputs: list[Any],
    scheme: str,
    fused: frozenset[str],
) -> Points:
    """The points that `run(inputs, context)` passes.

    Keras on PyTorch traces an unknown size with 83 and again with 89, and loops over time in
    Python: it would trace each step 172 times. The points do not depend on the number of frames, so
    that few are traced there.

    Args:
        run: computes a model on symbolic tensors.
        inputs: the model's KerasTensors, which give shapes and dtypes.
        scheme: the name of the scheme of integers.
        fused: the names of layers whose operator includes the next layer.
    """
    if keras.backend.backend() == "torch" and any(None in x.shape for x in inputs):
        shapes = [tuple(size or FEW_FRAMES for size in x.shape) for x in inputs]
        few = [keras.KerasTensor(s, x.dtype) for s, x in zip(shapes, inputs, strict=True)]
        with contextlib.suppress(Exception):  # too few for a kernel; any other is raised below
            return _trace(run, few, scheme, fused)
    return _trace(run, inputs, scheme, fused)


def _trace(
    run: Callable[[list[Any], Context], Any],
    inputs: list[Any],
    scheme: str,
    fused: frozenset[str],
) -> Points:
    finder, false = PointFinder(), ops.convert_to_tensor(False)
    values: Mapping[str, QuantParams] = defaultdict(lambda: SCHEMES[scheme].tanh)  # don't matter
    context = Context(ForwardState(SCHEMES[scheme], values, false, false), finder, fused)
    trace_function(lambda *tensors: run(list(tensors), context), inputs)
    return finder.points()
