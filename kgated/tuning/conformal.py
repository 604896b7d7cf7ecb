"""Split-conformal intervals of a forecaster, from sequences that it was not trained on."""

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
from kgated_edge import SequenceData, open_model
from kgated_edge.errors import DataError, EdgeError
from kgated_edge.evaluation.checker import checked_inputs, run_sequences
from kgated_edge.evaluation.metrics import Numbers
from kgated_edge.format.intervals import Intervals
from kgated_edge.format.reader import read_manifest
from kgated_edge.format.verified_file import ModelPath


def conformal_intervals(
    path: ModelPath, data: str | Path | SequenceData, coverage: float = 0.9
) -> Intervals:
    """Measures how far targets are from a model's results.

    Equation: half width = the ⌈(n + 1) · coverage⌉-th smallest |target - result| of n, for each
    element of the output. For targets exchangeable with these, the interval result ± half width
    holds a new target with probability `coverage` or more. Frames of one sequence depend on each
    other, so take many sequences.

    Args:
        path: a `.tflite` file made by `kgated convert`; it is not changed.
        data: sequences with numeric targets `y`, which the model was not trained on.
        coverage: in 0..1, without the ends.

    Raises:
        EdgeError: another coverage, data that do not fit, or too few for this coverage.
    """
    if not 0 < coverage < 1:
        raise EdgeError(f"`coverage` must be above 0 and below 1, got {coverage!r}")
    manifest = read_manifest(path)
    try:
        sequences, scorer = checked_inputs(manifest, data, "numbers")
    except DataError as error:
        if not manifest.labels or "`y` must" not in str(error):
            raise
        raise DataError(
            f"{path}: intervals are for numeric targets, and this model has labels: take one that "
            "predicts numbers"
        ) from None
    assert isinstance(scorer, Numbers), "the scorer of the task 'numbers'"
    run_sequences(open_model(path), sequences, scorer)
    errors = np.sort(np.abs(scorer.errors()), axis=0)
    # Exact: in floats 100 · 0.55 is above 55.
    fraction = Fraction(str(float(coverage)))
    rank = math.ceil((len(errors) + 1) * fraction)
    if rank > len(errors):
        needed = math.ceil(fraction / (1 - fraction))
        raise DataError(
            f"a coverage of {coverage:g} needs {needed} targets or more, got {len(errors)}: "
            "give more data, or a lower coverage"
        )
    widths = errors[rank - 1].tolist()
    # Rounded up, so that the coverage holds.
    return Intervals(coverage, tuple(float(f"{width * (1 + 5e-7):.7g}") for width in widths))
