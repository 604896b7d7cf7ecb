"""The tables of a comparison of candidates, for the terminal and as one HTML file."""

from importlib.resources import files

from rich.table import Table

from kgated.compare.comparison import CandidateResult, Comparison, DeviceRun
from kgated.compare.recommendation import describe
from kgated.compare.study_charts import front_chart, latency_points, learning_chart, size_points
from kgated.optional_imports import from_demo

TableRow = dict[str, str]


def training_rows(comparison: Comparison) -> list[TableRow]:
    """A row per candidate: size, training, accuracy, gradient."""
    return [_training(candidate, comparison) for candidate in comparison.candidates]


def device_rows(comparison: Comparison) -> list[TableRow]:
    """A row per candidate and recipe: accuracy, size and speed on the device."""
    return [
        _device(candidate, device)
        for candidate in comparison.candidates
        for device in candidate.devices
    ]


def terminal_table(rows: list[TableRow]) -> Table:
    """Rows as a table for the terminal; the first column to the left."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for n, name in enumerate(rows[0]):
        table.add_column(name, justify="right" if n else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row.values())
    return table


def render(comparison: Comparison) -> str:
    """The page as text.

    Raises:
        ImportError: jinja2 or matplotlib is missing.
    """
    jinja2 = from_demo("jinja2")
    template = files("kgated.compare").joinpath("templates", "compare.html").read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    markup = jinja2.utils.markupsafe.Markup
    accuracy = comparison.baseline.test_accuracy
    sizes, latencies = size_points(comparison), latency_points(comparison)
    return environment.from_string(template).render(
        comparison=comparison,
        tables=[training_rows(comparison), device_rows(comparison)],
        pairs=pair_lines(comparison),
        baseline=f"{100 * accuracy:.1f}",
        size_chart=markup(front_chart(sizes, accuracy, "file size, KiB", "accuracy and size")),
        latency_chart=markup(
            front_chart(latencies, accuracy, "time per frame, µs", "accuracy and latency")
        ),
        learning_chart=markup(learning_chart(comparison)),
    )


def _training(candidate: CandidateResult, comparison: Comparison) -> TableRow:
    run, steps = candidate.best_run, candidate.gradient_steps
    spread = f" ± {100 * candidate.spread:.1f}" if len(candidate.runs) > 1 else ""
    gradient = "?" if steps is None else f"{steps} of {candidate.gradient_frames - 1}"
    if candidate.name == comparison.best:
        against = "best"
    else:
        pair = comparison.against_best[candidate.name]
        against = "noise" if pair.is_noise else f"{-100 * pair.difference:+.1f}"
    return {
        "model": candidate.name,
        "parameters": f"{candidate.parameters:,}",
        "to rnn": f"{candidate.parameter_ratio:.2f}",
        "best epoch": f"{run.best_epoch}{'*' if candidate.out_of_time else ''}",
        "s to best": f"{run.seconds_to_best:.1f}",
        "test %": f"{100 * candidate.accuracy:.1f}{spread}",
        "to best": against,
        "reach": gradient,
    }


def _device(candidate: CandidateResult, device: DeviceRun) -> TableRow:
    if device.file_bytes is None or device.accuracy is None:
        empty = dict.fromkeys(("device %", "KiB", "p50 µs", "real time"), "-")
        return {"model": candidate.name, "recipe": device.quantize, **empty}
    factor = device.real_time_factor
    return {
        "model": candidate.name,
        "recipe": device.quantize,
        "device %": f"{100 * device.accuracy:.1f}",
        "KiB": f"{device.file_bytes / 1024:.1f}",
        "p50 µs": f"{device.step_us_p50:.1f}",
        "real time": "-" if factor is None else f"{factor:.2g}",
    }


def pair_lines(comparison: Comparison) -> list[str]:
    """A line per candidate that is not the best: its difference, and McNemar's test."""
    return [
        f"{comparison.best} against {name}: {describe(pair)}; right where the other is wrong: "
        f"{pair.only_first} and {pair.only_second} sequences, McNemar p = {pair.mcnemar_p:.2g}"
        for name, pair in {
            **comparison.against_best,
            "the linear baseline": comparison.baseline_against_best,
        }.items()
    ]
