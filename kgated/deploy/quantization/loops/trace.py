"""What meets the pieces of a file with loops while the whole runs over samples."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from kgated.deploy.quantization.calibration import MOST_SAMPLES, recorder
from kgated.deploy.quantization.loops.partition import Loop, Pieces

Sample = dict[str, np.ndarray]


@dataclass(frozen=True)
class Met:
    """Samples for the signature of each piece.

    Attributes:
        main: of the file without loops.
        bodies: of each body, by its subgraph's place: no more than `MOST_SAMPLES` turns, evenly
            spread.
    """

    main: list[Sample]
    bodies: dict[int, list[Sample]]


def samples_of(tflite: bytes, pieces: Pieces, samples: Sequence[Sample]) -> Met:
    """Run the whole file over samples, and each body on its own from where its loops begin."""
    interpreter, run = recorder(tflite)
    main: list[Sample] = []
    starts: list[list[Sample]] = [[] for _ in pieces.loops]
    for sample in samples:
        run(**sample)
        made = {f"from_{n}": interpreter.get_tensor(n) for n in pieces.made}
        main.append({**sample, **made})
        for loop, found in zip(pieces.loops, starts, strict=True):
            values = map(interpreter.get_tensor, loop.inputs)
            found.append({f"in_{k}": value for k, value in enumerate(values)})
    return Met(main, {body: list(_turns(pieces, starts, body)) for body in pieces.bodies})


def _turns(pieces: Pieces, starts: list[list[Sample]], body: int) -> Iterator[Sample]:
    """What the body is given at each turn of every loop that runs it, or at some of them."""
    interpreter = Interpreter(model_content=pieces.bodies[body].tflite, num_threads=1)
    (signature,) = interpreter.get_signature_list()
    run = interpreter.get_signature_runner(signature)
    runs: list[tuple[Loop, Sample]] = [
        (loop, start)
        for loop, found in zip(pieces.loops, starts, strict=True)
        for start in found
        if loop.body == body
    ]
    stride, count = math.ceil(sum(loop.turns for loop, _ in runs) / MOST_SAMPLES), 0
    for loop, start in runs:
        values = dict(start)
        for _ in range(loop.turns):
            if count % stride == 0:
                yield dict(values)
            count += 1
            made = run(**values)
            values |= {name.replace("out", "in"): value for name, value in made.items()}
