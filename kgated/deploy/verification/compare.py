"""Reports of how a file agrees with its Keras model, and the limits on them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from kgated_edge import open_model
from kgated_edge.format.manifest import DEFAULT_THRESHOLD

from kgated.deploy.recipe import Recipe
from kgated.errors import ConversionError


@dataclass(frozen=True)
class Agreement:
    """How the file's outputs compare with the Keras model's, over every sequence compared.

    Attributes:
        max_abs_error: the largest absolute difference of an output.
        rmse: root of the mean squared difference.
        top1_agreement: the fraction of results with the same decision: the largest entry, or for
            one probability whether it is the manifest's threshold or more. 1 where one number is no
            probability.
        largest_output: the largest absolute output of the Keras model.
        results: how many results were compared.
        relative_rmse: the RMSE divided by the standard deviation of the Keras model's outputs over
            the results; None where the outputs are constant.
    """

    max_abs_error: float
    rmse: float
    top1_agreement: float
    largest_output: float
    results: int
    relative_rmse: float | None = None


def agreement(
    reference: np.ndarray, measured: np.ndarray, threshold: float = DEFAULT_THRESHOLD
) -> Agreement:
    """Compare results of shape (n, *output); the threshold is that of a binary decision."""
    reference = reference.astype(np.float64)
    error = np.abs(reference - measured)
    rmse = float(np.sqrt(np.mean(error**2)))
    spread = float(np.sqrt(np.mean(reference.var(axis=0))))
    return Agreement(
        max_abs_error=float(error.max()),
        rmse=rmse,
        top1_agreement=_same_decisions(reference, measured, threshold),
        largest_output=float(np.abs(reference).max()),
        results=len(reference),
        relative_rmse=rmse / spread if spread > 0.0 else None,
    )


def _same_decisions(reference: np.ndarray, measured: np.ndarray, threshold: float) -> float:
    """The fraction of equal decisions."""
    if reference.shape[-1] > 1:
        return float((reference.argmax(-1) == measured.argmax(-1)).mean())
    if not ((reference >= 0.0) & (reference <= 1.0)).all():
        return 1.0
    return float(((reference >= threshold) == (measured >= threshold)).mean())


def merge_reports(reports: Iterable[Agreement]) -> Agreement:
    """One report of several outputs: the largest error, the mean of means."""
    reports = list(reports)
    counts = [report.results for report in reports]
    relative = [r.relative_rmse for r in reports if r.relative_rmse is not None]
    return Agreement(
        max_abs_error=float(np.max([report.max_abs_error for report in reports])),  # NaN stays NaN
        rmse=float(np.sqrt(np.average([report.rmse**2 for report in reports]))),
        top1_agreement=float(np.average([r.top1_agreement for r in reports], weights=counts)),
        largest_output=max(report.largest_output for report in reports),
        results=sum(counts),
        relative_rmse=float(np.max(relative)) if relative else None,
    )


def replay_golden(path: str | Path) -> Agreement:
    """Run the golden frames in a file through it, as a device does."""
    edge = open_model(path)
    outputs = edge.golden_outputs()
    golden = edge.manifest.golden.outputs
    return merge_reports(agreement(array, outputs[name]) for name, array in golden.items())


def check_limits(report: Agreement, recipe: Recipe, what: str) -> None:
    """Refuse a file whose error is above the recipe's limit.

    Raises:
        ConversionError: with the error and the limit.
    """
    limits = {
        "max abs error": (report.max_abs_error, recipe.limit(report.largest_output)),
        "RMSE": (report.rmse, recipe.rmse_limit(report.largest_output)),
    }
    for name, (error, limit) in limits.items():
        if not error <= limit:
            raise ConversionError(
                f"the file disagrees with the Keras model on {what}: {name} {error:.3g}, and "
                f"recipe {recipe.name} allows {limit:.3g}; nothing was written. Try another "
                "`quantize`, or `skip` the layers that are sensitive"
            )
