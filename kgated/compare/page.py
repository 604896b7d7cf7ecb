"""The tables of a comparison of candidates, for the terminal and as one HTML file."""

from kgated.compare.charts import (
    front_chart,
    gate_chart,
    gradient_chart,
    latency_points,
    learning_chart,
    size_points,
)
from kgated.compare.recommendation import describe, permutation_text
from kgated.compare.results import CandidateResult, Comparison, DeviceRun
from kgated.pages.render import render_page
from kgated.study.console import TableRow
from kgated.study.tasks.metrics import Metric

PERPLEXITY = "perplexity"
EXTRA_OF = {"rmse": "MAE", "bits_per_character": PERPLEXITY}


def training_rows(comparison: Comparison) -> list[TableRow]:
    """A row per candidate: size, training, accuracy, gradient."""
    return [_training(candidate, comparison) for candidate in comparison.candidates]


def device_rows(comparison: Comparison) -> list[TableRow]:
    """A row per candidate and recipe: accuracy, size and speed on the device."""
    return [
        _device(candidate, device, comparison.metric)
        for candidate in comparison.candidates
        for device in candidate.devices
    ]


def render(comparison: Comparison) -> str:
    """The page as text.

    Raises:
        ImportError: jinja2 or matplotlib is missing.
    """
    metric, baselines = comparison.metric, comparison.baselines
    sizes, latencies = size_points(comparison), latency_points(comparison)
    return render_page(
        "compare/compare.html",
        "demo",
        comparison=comparison,
        tables=[training_rows(comparison), device_rows(comparison)],
        pairs=pair_lines(comparison),
        size_chart=front_chart(sizes, metric, baselines, "file size, KiB"),
        latency_chart=front_chart(latencies, metric, baselines, "time per frame, µs"),
        learning_chart=learning_chart(comparison),
        gradient_chart=gradient_chart(comparison),
        gate_chart=gate_chart(comparison),
    )


def _training(candidate: CandidateResult, comparison: Comparison) -> TableRow:
    run, steps, metric = candidate.validated_run, candidate.gradient_steps, comparison.metric
    spread = f" ± {metric.number(candidate.spread)}" if len(candidate.runs) > 1 else ""
    frames = len(candidate.gradient_norms or ())
    if candidate.name == comparison.best:
        against = "best"
    else:
        pair = comparison.against_best[candidate.name]
        against = "noise" if pair.is_noise else metric.difference(-pair.difference)
    return {
        "model": candidate.name,
        "parameters": f"{candidate.parameters:,}",
        "to rnn": f"{candidate.parameter_ratio:.2f}",
        "best epoch": f"{run.best_epoch}{'*' if candidate.out_of_time else ''}",
        "s to best": f"{run.seconds_to_best:.1f}",
        f"test {short_unit(metric)}": f"{metric.number(candidate.value)}{spread}",
        "to best": against,
        "reach": "?" if steps is None else f"{steps} of {frames - 1}",
    }


def _device(candidate: CandidateResult, device: DeviceRun, metric: Metric) -> TableRow:
    title = f"device {short_unit(metric)}"
    if device.file_bytes is None or device.value is None:
        names = (title, *_extra(device, metric), "KiB", "p50 µs", "real time")
        return {"model": candidate.name, "recipe": device.quantize, **dict.fromkeys(names, "-")}
    factor = device.real_time_factor
    return {
        "model": candidate.name,
        "recipe": device.quantize,
        title: metric.number(device.value),
        **_extra(device, metric),
        "KiB": f"{device.file_bytes / 1024:.1f}",
        "p50 µs": f"{device.step_us_p50:.1f}",
        "real time": "-" if factor is None else f"{factor:.2g}",
    }


def _extra(device: DeviceRun, metric: Metric) -> TableRow:
    """The second metric of a task, where it has one."""
    title = EXTRA_OF.get(metric.name)
    if title is None:
        return {}
    if device.value is None:
        return {title: "-"}
    value = 2.0**device.value if title == PERPLEXITY else device.metrics[title.lower()]
    return {title: f"{value:.4g}"}


def short_unit(metric: Metric) -> str:
    """The unit of a column, or the name of a metric without one."""
    return metric.unit.split()[0] if metric.unit else metric.title


def pair_lines(comparison: Comparison) -> list[str]:
    """The best candidate against each other one and each simple model, a line each."""
    pairs = dict(comparison.against_best)
    pairs |= {f"the {b.name}": b.against_best for b in comparison.baselines}
    return [
        f"{comparison.best} against {name}: {describe(pair, comparison.metric)}; better on "
        f"{pair.only_first} sequences and worse on {pair.only_second}, sign test "
        f"p = {pair.sign_test_p:.2g}{permutation_text(pair)}"
        for name, pair in pairs.items()
    ]
