"""Reports on the agreement of a file with its Keras model, and the checks on them.

A float file has to be exact. A quantized one is reported, and refused where nothing is left of the
model; what else can be wrong with it, is proved by `quantization.weight_checks` and `scale_checks`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from kgated_edge import open_model
from kgated_edge.format.manifest import DEFAULT_THRESHOLD

from kgated.deploy.recipe import QUANTIZATIONS, Recipe
from kgated.errors import ConversionError

MAX_RELATIVE_RMSE = 0.01  # of a float file
MIN_SCALE = 0.1  # smaller outputs may be differences of larger numbers, with their rounding
MIN_RMSE = 1e-6  # what float32 arithmetic may leave of a small output


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
    constant_agreement: float = 1.0


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
        constant_agreement=_largest_share(reference, threshold),
        largest_output=float(np.abs(reference).max()),
        results=len(reference),
        relative_rmse=rmse / spread if spread > 0.0 else None,
    )


def _same_decisions(reference: np.ndarray, measured: np.ndarray, threshold: float) -> float:
    """The fraction of equal decisions."""
    if not _decides(reference):
        return 1.0
    same = _decisions(reference, threshold) == _decisions(measured, threshold)
    return float(same.mean())


def _largest_share(reference: np.ndarray, threshold: float) -> float:
    """The fraction of the most frequent decision."""
    if not _decides(reference):
        return 1.0
    decisions = _decisions(reference, threshold)
    return float(np.unique(decisions, return_counts=True)[1].max() / decisions.size)


def _decides(reference: np.ndarray) -> bool:
    """Whether the outputs are scores of several classes, or one probability."""
    return reference.shape[-1] > 1 or bool(((reference >= 0.0) & (reference <= 1.0)).all())


def _decisions(outputs: np.ndarray, threshold: float) -> np.ndarray:
    return outputs.argmax(-1) if outputs.shape[-1] > 1 else outputs >= threshold


def merge_reports(reports: Iterable[Agreement]) -> Agreement:
    """One report of several outputs: the largest error, the mean of means."""
    reports = list(reports)
    counts = [report.results for report in reports]
    relative = [r.relative_rmse for r in reports if r.relative_rmse is not None]
    return Agreement(
        max_abs_error=float(np.max([report.max_abs_error for report in reports])),  # NaN stays NaN
        rmse=float(np.sqrt(np.average([report.rmse**2 for report in reports]))),
        top1_agreement=float(np.average([r.top1_agreement for r in reports], weights=counts)),
        constant_agreement=float(
            np.average([r.constant_agreement for r in reports], weights=counts)
        ),
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


def check_exact(report: Agreement, what: str) -> None:
    """Refuse a float file that does not compute what the Keras model does.

    Raises:
        ConversionError: with the error and the limit.
    """
    exact, relative = QUANTIZATIONS["none"], report.relative_rmse
    scale = max(MIN_SCALE, report.largest_output)
    limits = {
        "max abs error": (report.max_abs_error, exact.limit * scale),
        "RMSE": (report.rmse, exact.rmse_limit * scale),
    }
    if relative is not None and report.rmse > MIN_RMSE:  # small outputs hide no error
        limits["RMSE over the spread of the output"] = (relative, MAX_RELATIVE_RMSE)
    for name, (error, limit) in limits.items():
        if not error <= limit:
            raise ConversionError(
                "the float file disagrees with the Keras model, computed in float32, on "
                f"{what}: {name} {error:.3g}, and {limit:.3g} is allowed; nothing was written. "
                "Nothing was quantized yet: try another `mode` or `lowering`, or take layers out "
                "to find the one"
            )


def check_finite(report: Agreement, recipe: Recipe, what: str) -> None:
    """Refuse a file whose outputs are not finite.

    Raises:
        ConversionError: with the recipe.
    """
    if not np.isfinite(report.rmse):
        raise ConversionError(
            f"the file of recipe {recipe.name} is broken: its outputs on {what} are not finite; "
            "nothing was written. Try another `quantize`"
        )


def check_not_broken(report: Agreement, recipe: Recipe, what: str) -> None:
    """Refuse a quantized file that is no better than a constant output.

    Its outputs are not finite; or its error is above the usual one of the recipe and that of a
    constant output, and its decisions agree no more often than those of a constant output.

    Raises:
        ConversionError: with the error.
    """
    check_finite(report, recipe, what)
    unusual = report.max_abs_error > recipe.limit(
        report.largest_output
    ) or report.rmse > recipe.rmse_limit(report.largest_output)
    useless = report.relative_rmse is not None and report.relative_rmse > 1.0
    if unusual and useless and report.top1_agreement <= report.constant_agreement:
        raise ConversionError(
            f"the file disagrees with the Keras model on {what}: its RMSE {report.rmse:.3g} is "
            f"{report.relative_rmse:.3g} of the spread of the output, more than that of a constant "
            f"answer, and {100 * report.top1_agreement:.1f}% of the decisions agree; nothing was "
            f"written. Recipe {recipe.name} does not suit this model: train with "
            "`kgated.quantize_aware`, try another `quantize`, or `skip` the layers that are "
            "sensitive"
        )


def check_tolerance(report: Agreement, tolerance: float, what: str) -> None:
    """Refuse a file whose RMSE, relative to the spread of the output, is above a tolerance.

    Where the output is constant, the RMSE is relative to the largest output.

    Raises:
        ConversionError: with both numbers.
    """
    relative = report.relative_rmse
    if relative is None:
        relative = report.rmse / max(report.largest_output, MIN_RMSE)
    if not relative <= tolerance:
        raise ConversionError(
            f"the RMSE on {what} is {relative:.3g} of the spread of the output, and `tolerance` "
            f"allows {tolerance:g}; nothing was written"
        )
