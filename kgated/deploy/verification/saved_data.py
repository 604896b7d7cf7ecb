"""Calibration and evaluation data as files, for a conversion in another process."""

from pathlib import Path
from typing import Any

import numpy as np
from kgated_edge.evaluation.arrays import plain_arrays
from kgated_edge.evaluation.dataset import SequenceData

from kgated.deploy.verification.evaluation_data import named_arrays


def save_calibration(calibration: Any, folder: Path) -> Path:
    """The file of a calibration data set, written into the folder unless it is one already."""
    if isinstance(calibration, str | Path):
        return Path(calibration).resolve()
    path = folder / "calibration.npz"
    arrays: dict[str, Any] = dict(plain_arrays(calibration))
    np.savez(path, **arrays)
    return path


def save_evaluation(evaluation: Any, folder: Path) -> Path:
    """The file of evaluation data, with `y`, written into the folder unless it is one already."""
    if isinstance(evaluation, str | Path):
        return Path(evaluation).resolve()
    path = folder / "evaluation.npz"
    arrays: dict[str, Any]
    if isinstance(evaluation, SequenceData):
        arrays = dict(evaluation.inputs or {"x": evaluation.x}) | {"lengths": evaluation.lengths}
        arrays |= {} if evaluation.y is None else {"y": evaluation.y}
    else:
        arrays = named_arrays(evaluation)
    np.savez(path, **arrays)
    return path
