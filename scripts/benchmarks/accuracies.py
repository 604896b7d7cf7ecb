"""Statistics over seeds: mean and spread, loss of each recipe, and missed limits."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.tables import Row
from benchmarks.variants import FLOAT, VARIANTS

GZIP_LIMITS = {"pruned 75%": 0.45}
BETTER_THAN = {"int8 QAT": "int8 PTQ"}
Key = tuple[str, str, str]  # task, cell, recipe


def summarized(rows: Sequence[Row], latency_us: Mapping[Key, float]) -> list[Row]:
    """One row per task, cell and recipe, over the seeds that both the recipe and float have.

    A point is a percent of the test set, or a hundredth of the float model's bits per character.
    """
    by_key: dict[Key, dict[int, Row]] = {}
    for row in rows:
        if "score" in row:
            key = (row["task"], row["cell"], row["recipe"])
            by_key.setdefault(key, {})[row["seed"]] = row
    summary = []
    for key in by_key:
        task, cell, recipe = key
        dense = by_key.get((task, cell, VARIANTS[recipe].dense), {})
        base, own = by_key.get((task, cell, FLOAT), {}), by_key[key]
        seeds = sorted(set(base) & set(own) & set(dense))
        if seeds:
            parts = ([part[seed] for seed in seeds] for part in (own, base, dense))
            summary.append({**_figures(key, *parts), "step_us": latency_us.get(key)})
    for row in summary:
        row["missed"] = _missed(row, summary)
    return summary


def _figures(
    key: Key, own: Sequence[Row], base: Sequence[Row], dense: Sequence[Row]
) -> dict[str, Any]:
    scores, floats, gated, reference = (
        np.array([row[name] for row in rows], float)
        for rows, name in (
            (own, "score"),
            (base, "score"),
            (own, "gzip_bytes"),
            (dense, "gzip_bytes"),
        )
    )
    is_bits = own[0]["unit"] == "bits"
    loss = 100.0 * (scores - floats) / floats if is_bits else floats - scores
    return {
        "task": key[0],
        "cell": key[1],
        "recipe": key[2],
        "score": float(scores.mean()),
        "spread": float(scores.std(ddof=1)) if len(scores) > 1 else None,
        "unit": own[0]["unit"],
        "seeds": len(scores),
        "refused": sum(row.get("refused") is not None for row in own),
        "loss_points": float(loss.mean()),
        "file_kib": float(np.mean([row["file_bytes"] for row in own])) / 1024,
        "gzip_kib": float(gated.mean()) / 1024,
        "of_dense_gzip": float((gated / reference).mean()),
    }


def _missed(row: Row, rows: Sequence[Row]) -> list[str]:
    """A sentence for each limit that a row misses."""
    missed, recipe = [], row["recipe"]
    limit, gzip_limit = VARIANTS[recipe].loss_limit, GZIP_LIMITS.get(recipe)
    # The mean over seeds has rounding errors; a loss at the limit must not miss it.
    if limit is not None and row["loss_points"] > limit + 1e-6:
        missed.append(f"loses {row['loss_points']:.2f} points, limit {limit}")
    if gzip_limit is not None and row["of_dense_gzip"] > gzip_limit:
        missed.append(f"gzip {row['of_dense_gzip']:.3f} of dense, limit {gzip_limit}")
    for baseline in rows:
        alike = (baseline["task"], baseline["cell"]) == (row["task"], row["cell"])
        if alike and baseline["recipe"] == BETTER_THAN.get(recipe):
            behind = row["loss_points"] - baseline["loss_points"]
            if behind > 1e-6:
                missed.append(f"{behind:.2f} points behind {baseline['recipe']}")
    return missed


def lines(rows: Sequence[Row]) -> list[Row]:
    """The summary as text, a column per figure."""
    return [
        {
            "data": row["task"],
            "cell": row["cell"],
            "recipe": row["recipe"],
            "score": _score(row),
            "loss, points": f"{row['loss_points']:+.2f}",
            "KiB": f"{row['file_kib']:.1f}",
            "gzip KiB": f"{row['gzip_kib']:.1f}",
            "of dense": f"{row['of_dense_gzip']:.2f}",
            "step µs": "-" if row["step_us"] is None else f"{row['step_us']:.1f}",
            "limits": _limits(row),
        }
        for row in rows
    ]


def overview(rows: Sequence[Row]) -> list[Row]:
    """A line per task and cell: the float score, and the points that each recipe loses.

    Values that miss a limit are bold; negative values are gains.
    """
    by_cell: dict[tuple[str, str], Row] = {}
    for row in rows:
        line = by_cell.setdefault((row["task"], row["cell"]), {"data": row["task"]})
        line["cell"] = row["cell"]
        if row["recipe"] == FLOAT:
            line[FLOAT] = _score(row)
        else:
            points = f"{row['loss_points']:+.2f}"
            line[row["recipe"]] = f"**{points}**" if row["missed"] else points
    columns = ["data", "cell", *VARIANTS]
    return [{name: line.get(name) for name in columns} for line in by_cell.values()]


def _score(row: Row) -> str:
    digits = 3 if row["unit"] == "bits" else 2
    spread = "" if row["spread"] is None else f" ± {row['spread']:.{digits}f}"
    return f"{row['score']:.{digits}f}{spread} {row['unit']}"


def _limits(row: Row) -> str:
    said = list(row["missed"])
    if not said and (VARIANTS[row["recipe"]].loss_limit or row["recipe"] in GZIP_LIMITS):
        said = ["met"]
    if row["refused"]:
        said.append(f"the converter refuses {row['refused']} of {row['seeds']}")
    return "; ".join(said) or "-"
