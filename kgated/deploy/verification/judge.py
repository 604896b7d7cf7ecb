"""Judges a finished file: error, decisions, accuracy; refuses it, or warns.

A quantized file is refused only if it is broken. Everything else is reported.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kgated_edge.format.reader import read_manifest

from kgated.deploy.manifest_writer import overwrite
from kgated.deploy.recipe import Recipe
from kgated.deploy.verification import compare
from kgated.deploy.verification.accuracy import Evaluation, evaluate_reference
from kgated.deploy.verification.compare import Agreement
from kgated.deploy.verification.evaluation_data import ComparedData
from kgated.deploy.verification.layer_costs import LayerCost
from kgated.deploy.verification.sessions import check_sessions
from kgated.deploy.verification.targets import Target
from kgated.deploy.verification.trial import trial_file
from kgated.deploy.worker import run_in_worker
from kgated_worker import begin

MAX_RELATIVE_RMSE, MIN_AGREEMENT, MAX_ACCURACY_LOST = 0.1, 0.97, 0.01
"""Beyond these a conversion warns."""
MIN_SAVED = 0.1
"""The share of the RMSE that a layer in float must save, to be named in the warning."""
WAYS_OUT = {
    "int8": 'train with `kgated.quantize_aware`, take `quantize="int16x8"` or "dynamic", '
    "or scale the features to like size",
    "int16x8": 'train with `kgated.quantize_aware`, or take `quantize="dynamic"`',
    "dynamic4": 'take `quantize="dynamic"`',
    "dynamic": 'take `quantize="float16"`',
    "float16": 'take `quantize="none"`',
}


@dataclass(frozen=True)
class Judgement:
    """The results of a file.

    Attributes:
        golden: on its golden frames.
        outputs: over the sequences compared, by output name.
        evaluation: accuracy of both models; None without labels.
    """

    golden: Agreement
    outputs: dict[str, Agreement]
    evaluation: Evaluation | None = None


def judge_file(
    path: Path,
    recipe: Recipe,
    target: Target,
    compared: ComparedData,
    tolerance: float | None = None,
) -> Judgement:
    """Run a file, which the worker process has run once, and refuse it if it is broken.

    Args:
        path: the file, with its manifest.
        recipe: what it was made by.
        target: what it is compared with.
        compared: the sequences to compare on, with labels or without.
        tolerance: the largest RMSE allowed, relative to the spread of an output; None: any.

    Raises:
        ConversionError: it is broken, or over the tolerance.
    """
    begin("the comparison of the file with Keras")
    golden, outputs = compare.replay_golden(path), target.compare(path, compared.main)
    compare.check_finite(golden, recipe, "the golden frames")
    for name, report in outputs.items():  # each by its own scale: a large one hides no small one
        what = f"output `{name}` over the sequences compared"
        if recipe.quantization.is_float:
            compare.check_exact(report, what)
        compare.check_not_broken(report, recipe, what)
        if tolerance is not None:
            compare.check_tolerance(report, tolerance, what)
    evaluation = None
    if compared.labelled is not None:
        evaluation = evaluate_reference(target.reference, path, compared.labelled)
    return Judgement(golden, outputs, evaluation)


def warn_of_cost(
    judgement: Judgement, recipe: Recipe, costs: Callable[[], Sequence[LayerCost]]
) -> None:
    """Warn of a quantization that costs much, with the layer that costs most and the remedies.

    Args:
        judgement: of the file.
        recipe: what it was made by.
        costs: measures what each layer costs, the most costly first; called where there is a cause.
    """
    reasons = _reasons(judgement)
    if not reasons or recipe.quantization.is_float:
        return
    begin("the cost of each layer")
    layers = [cost for cost in costs() if cost.share_saved > MIN_SAVED]
    ways = WAYS_OUT[recipe.quantize]
    if layers:
        worst = layers[0]
        reasons.append(
            f"layer `{worst.layer}` costs most: with it in float the RMSE is "
            f"{worst.agreement.rmse:.2g} instead of {worst.agreement.rmse + worst.rmse_saved:.2g}"
        )
        if recipe.target != "mcu":
            ways = f'take `skip=["{worst.layer}"]`, or {ways}'
    message = f"quantization costs much: {'; '.join(reasons)}. To lose less, {ways}"
    warnings.warn(message, UserWarning, stacklevel=5)


def _reasons(judgement: Judgement) -> list[str]:
    report, evaluation = compare.merge_reports(judgement.outputs.values()), judgement.evaluation
    reasons = []
    if report.relative_rmse is not None and report.relative_rmse > MAX_RELATIVE_RMSE:
        percent = 100 * report.relative_rmse
        reasons.append(f"the RMSE is {percent:.3g}% of the spread of the output")
    if report.top1_agreement < MIN_AGREEMENT:
        reasons.append(f"{100 * report.top1_agreement:.1f}% of the decisions are Keras's")
    lost = None if evaluation is None else evaluation.accuracy_lost
    if evaluation is not None and lost is not None and lost > MAX_ACCURACY_LOST:
        reasons.append(
            f"the accuracy is {100 * (evaluation.file.accuracy or 0.0):.1f}% instead of "
            f"{100 * (evaluation.keras.accuracy or 0.0):.1f}%"
        )
    return reasons


def _golden_error(judgement: Judgement, recipe: Recipe) -> float:
    """The error that the golden frames allow for.

    C rounds activations at other places than LiteRT, whose error on a few frames may be small by
    chance; so that of C sources is at least the error over all data.
    """
    error = judgement.golden.max_abs_error
    if recipe.target != "c" or recipe.is_static:
        return error
    return max(error, compare.merge_reports(judgement.outputs.values()).rmse)


def judge_content(
    content: bytes, target: Target, compared: ComparedData, recipe: Recipe, tolerance: float | None
) -> tuple[Judgement, bytes]:
    """The judgement of a file, and the file with the golden tolerance of the error measured."""
    with trial_file(content) as trial:
        run_in_worker(trial, recipe)
        manifest = read_manifest(trial)
        judgement = judge_file(trial, recipe, target, compared, tolerance)
        if recipe.session_sizes:
            check_sessions(trial, recipe, compared.main)
    golden = judgement.golden
    allowed = recipe.tolerance(_golden_error(judgement, recipe), golden.largest_output)
    manifest = replace(manifest, golden=replace(manifest.golden, tolerance=allowed))
    return judgement, overwrite(content, manifest)
