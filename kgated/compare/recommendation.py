"""A recommendation in plain words, with its evidence."""

from kgated.compare.comparison import CandidateResult, DeviceRun
from kgated.compare.results import Baseline
from kgated.compare.significance import Paired

ACCURACY_LOSS_ALLOWED = 0.005


def recommend(
    candidates: tuple[CandidateResult, ...],
    best: CandidateResult,
    against_best: dict[str, Paired],
    baseline: Baseline,
    baseline_pair: Paired,
) -> tuple[str, ...]:
    """Sentences: which candidate and which file to take, and on what evidence.

    The recommended candidate has the smallest file among those whose accuracy does not differ from
    the best one's beyond noise.
    """
    equal = [c for c in candidates if c is best or against_best[c.name].is_noise]
    choice = min(equal, key=lambda c: (_bytes(best_file(c)), c.parameters))
    sentences = [] if baseline_pair.low > 0 else [_no_better(best, baseline, baseline_pair)]
    sentences.append(_choice(choice, best, against_best))
    sentences += _differences(candidates, best, against_best)
    sentences.append(_file(choice))
    if baseline_pair.low > 0:
        sentences.append(
            f"{best.name} is better than the linear baseline ({100 * baseline.test_accuracy:.1f}%) "
            f"beyond noise ({describe(baseline_pair)})."
        )
    if seeds_of(choice) == 1:
        sentences.append(
            "There is one seed, so the differences between trainings are not known: use --seeds 3."
        )
    return tuple(sentences)


def best_file(candidate: CandidateResult) -> DeviceRun | None:
    """The smallest file within half a point of the candidate's best file; None without files."""
    files = [device for device in candidate.devices if device.accuracy is not None]
    if not files:
        return None
    top = max(device.accuracy or 0.0 for device in files)
    close = [d for d in files if (d.accuracy or 0.0) >= top - ACCURACY_LOSS_ALLOWED]
    return min(close, key=_bytes)


def seeds_of(candidate: CandidateResult) -> int:
    """The number of trainings."""
    return len(candidate.runs)


def describe(pair: Paired) -> str:
    """A difference with its interval, in points."""
    return (
        f"{100 * pair.difference:+.1f} points, 95% interval {100 * pair.low:+.1f} to "
        f"{100 * pair.high:+.1f}"
    )


def _bytes(device: DeviceRun | None) -> float:
    return float("inf") if device is None or device.file_bytes is None else device.file_bytes


def _choice(choice: CandidateResult, best: CandidateResult, against_best: dict[str, Paired]) -> str:
    accuracy = f"{100 * choice.accuracy:.1f}% on the test set"
    if choice is best:
        return f"Take {choice.name}: it has the highest accuracy, {accuracy}."
    pair = against_best[choice.name]
    return (
        f"Take {choice.name}: {accuracy}. {best.name} has the highest accuracy, "
        f"{100 * best.accuracy:.1f}%, but the difference is within noise ({describe(pair)}), and "
        f"{choice.name} has the smallest file of the candidates that are as good."
    )


def _differences(
    candidates: tuple[CandidateResult, ...], best: CandidateResult, pairs: dict[str, Paired]
) -> list[str]:
    sentences = []
    noise = [c.name for c in candidates if c is not best and pairs[c.name].is_noise]
    if noise:
        sentences.append(f"Within noise of {best.name}: {', '.join(noise)}.")
    for candidate in candidates:
        if candidate is not best and not pairs[candidate.name].is_noise:
            pair = pairs[candidate.name]
            sentences.append(
                f"{best.name} is better than {candidate.name} beyond noise ({describe(pair)}; "
                f"McNemar p = {pair.mcnemar_p:.2g})."
            )
    return sentences


def _file(choice: CandidateResult) -> str:
    device = best_file(choice)
    if device is None:
        reasons = "; ".join(d.failure or "" for d in choice.devices)
        return f"{choice.name} has no file for a device: {reasons}"
    factor = device.real_time_factor
    speed = "" if factor is None else f", {100 * factor:.2g}% of the time between two frames"
    return (
        f"On the device take `{device.quantize}`: {100 * (device.accuracy or 0.0):.1f}%, "
        f"{(device.file_bytes or 0) / 1024:.1f} KiB, {device.step_us_p50:.0f} µs per "
        f"{'sequence' if choice.bidirectional else 'step'}{speed}. It is the smallest file within "
        "half a point of the best recipe."
    )


def _no_better(best: CandidateResult, baseline: Baseline, pair: Paired) -> str:
    relation = "not better beyond noise" if pair.is_noise else "worse beyond noise"
    return (
        f"No model beats the linear baseline ({100 * baseline.test_accuracy:.1f}%): {best.name} is "
        f"{relation} ({describe(pair)}). Where a decision may wait for the last frame, a linear "
        "model is enough."
    )
