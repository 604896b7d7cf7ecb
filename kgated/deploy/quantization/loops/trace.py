"""Samples for each part of a file with loops, taken while the whole file runs."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from kgated.deploy.quantization.loops.partition import Body, Loop, Partition
from kgated.deploy.quantization.ranges.calibration import MAX_SAMPLES, tensor_preserving_interpreter

Sample = dict[str, np.ndarray]


@dataclass(frozen=True)
class Trace:
    """Samples for the signature of each part.

    Attributes:
        main: of the file without loops.
        bodies: of each body, by its subgraph's index: at most `MAX_SAMPLES` iterations, evenly
            spread.
    """

    main: list[Sample]
    bodies: dict[int, list[Sample]]


def trace_parts(tflite: bytes, parts: Partition, samples: Sequence[Sample]) -> Trace:
    """Run the whole file over samples, and each body on its own from where its loops begin."""
    interpreter, run = tensor_preserving_interpreter(tflite)
    main: list[Sample] = []
    starts: dict[int, list[tuple[Loop, Sample]]] = {body: [] for body in parts.bodies}
    for sample in samples:
        run(**sample)
        results = {name: interpreter.get_tensor(n) for n, name in parts.from_loops.items()}
        main.append({**sample, **results})
        for loop in parts.loops:
            names = parts.bodies[loop.body].inputs
            values = {names[k]: interpreter.get_tensor(n) for k, n in enumerate(loop.inputs)}
            starts[loop.body].append((loop, values))
    bodies = {index: list(_iterations(parts.bodies[index], runs)) for index, runs in starts.items()}
    return Trace(main, bodies)


def _iterations(body: Body, runs: list[tuple[Loop, Sample]]) -> Iterator[Sample]:
    """The body's inputs at each iteration of every loop that runs it, or at some of them."""
    interpreter = Interpreter(model_content=body.file.content, num_threads=1)
    (signature,) = interpreter.get_signature_list()
    run = interpreter.get_signature_runner(signature)
    total, count = sum(loop.iterations for loop, _ in runs), 0
    stride = math.ceil(total / MAX_SAMPLES)
    for loop, start in runs:
        values = dict(start)
        for _ in range(loop.iterations):
            if count % stride == 0:
                yield dict(values)
            count += 1
            results = run(**values)
            values |= {body.inputs[k]: results[name] for k, name in body.outputs.items()}
