"""Proof that the float file computes what the Keras model does, before it is quantized."""

from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

from kgated.deploy.verification.compare import check_exact
from kgated.deploy.verification.data.sequences import Sequences
from kgated.deploy.verification.targets import Target
from kgated_worker import begin

MAX_FRAMES = 4096


def prove_float(path: Path, target: Target, sequences: Sequences) -> None:
    """Compare a float file with its Keras model, and refuse it unless it is exact.

    Args:
        path: the float file, which the worker process has run once.
        target: the Keras model in float.
        sequences: to compare on; as many of the first as have `MAX_FRAMES` frames together, and
            at least two.

    Raises:
        ConversionError: an output disagrees.
    """
    begin("the comparison of the float file with Keras")
    for name, report in target.compare(path, list(_some(sequences))).items():
        check_exact(report, f"output `{name}` over the sequences compared")


def _some(sequences: Sequences) -> Iterator[dict]:
    totals = accumulate(max(map(len, s.values())) for s in sequences)
    for n, (sequence, total) in enumerate(zip(sequences, totals, strict=True)):
        if n > 1 and total > MAX_FRAMES:
            return
        yield sequence
