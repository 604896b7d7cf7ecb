"""`kgated compare`: which cell for one's own data."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from kgated_cli import checks, options
from kgated_cli.app import app


@app.command()
def compare(
    data: options.ComparedData,
    cells: options.ComparedCells = "rnn,lstm,peephole,gru",
    units: options.ComparedUnits = "16,32",
    layers: options.ComparedLayers = "1",
    bidirectional: options.Bidirectional = False,
    quantize: options.ComparedRecipes = "none,dynamic,int8",
    seeds: options.Seeds = 3,
    budget_minutes: options.BudgetMinutes = 20.0,
    trials: options.Trials = 8,
    epochs: options.Epochs = 100,
    patience: options.Patience = 15,
    period_ms: options.ComparedPeriod = None,
    group: options.StayTogether = None,
    test: options.TestData = None,
    refit: options.Refit = True,
    task: options.ComparedTask = None,
    storage: options.TrialStorage = None,
    out: options.ComparisonFolder = Path("kgated-compare"),
) -> None:
    """Train, convert and run several cells on a data set under the same budget; recommend one.

    Ends with tables, compare.json, compare.csv and compare.html. The same command continues after
    a kill, and shares the trials with other processes that run it on the same folder or database.
    """
    checks.check_number("--budget-minutes", budget_minutes, 0.0)
    checks.check_folder(out)
    widths, depths = numbers("--units", units), numbers("--layers", layers)
    for recipe in words(quantize):
        checks.check_recipe({"quantize": recipe, "skip": ()})
    plan: dict[str, Any] = {"trials": trials, "seeds": seeds, "epochs": epochs}
    plan |= {"patience": patience, "budget_minutes": budget_minutes, "group": group, "task": task}
    plan |= {"storage": storage, "refit": refit}
    plan["period_s"] = checks.seconds_of("--period-ms", period_ms)

    from kgated.compare import CompareOptions, candidates, compare_candidates

    models = candidates(words(cells), widths, depths, bidirectional)
    settings = CompareOptions(quantizations=tuple(words(quantize)), **plan)
    with continues_later():
        compare_candidates(data, out, models, settings, test=test)


@contextlib.contextmanager
def continues_later() -> Iterator[None]:
    """Say after Ctrl-C how a comparison or a search continues; exit status 130."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(
            "kgated: stopped; start the same command again: it continues where it stopped", err=True
        )
        raise typer.Exit(130) from None


def words(text: str) -> list[str]:
    """The values of an option, separated by commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def numbers(option: str, text: str) -> list[int]:
    """The numbers of an option, separated by commas; `ValueError` for anything else."""
    try:
        values = [int(word) for word in words(text)]
    except ValueError:
        values = []
    if not values or min(values) < 1:
        raise ValueError(f"{option} must be whole numbers from 1, as 16,32. Received: {text!r}")
    return values
