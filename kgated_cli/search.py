"""`kgated search`: the smallest model that meets the limits of a device."""

from pathlib import Path
from typing import Any

import typer

from kgated_cli import checks, options
from kgated_cli.app import app
from kgated_cli.compare import numbers, words


@app.command()
def search(
    data: options.TrainingData,
    max_kib: options.MaxKib,
    deadline_us: options.DeadlineUs = None,
    device: options.SearchDevice = "local",
    runner: options.RunnerCommand = "kgated-edge",
    cells: options.SearchedCells = "lstm,peephole,gru,mingru,minlstm",
    units: options.ComparedUnits = "4,6,8,12,16,24,32,48,64",
    layers: options.ComparedLayers = "1,2",
    strides: options.Strides = "1,2,4",
    ranks: options.Ranks = "1,2,4",
    sparsities: options.Sparsities = "0",
    quantize: options.SearchedRecipes = "none,dynamic,int8,int16x8,dynamic4",
    compressed: options.Compressed = False,
    teacher: options.TeacherModel = None,
    temperature: options.Temperature = 3.0,
    soft_weight: options.SoftWeight = 0.5,
    trials: options.SearchTrials = 40,
    budget_minutes: options.SearchMinutes = 30.0,
    epochs: options.Epochs = 100,
    patience: options.Patience = 20,
    min_accuracy: options.MinAccuracy = None,
    tolerance: options.AccuracyTolerance = 1.0,
    period_ms: options.ComparedPeriod = None,
    group: options.StayTogether = None,
    test: options.TestData = None,
    storage: options.TrialStorage = None,
    out: options.SearchFolder = Path("kgated-search"),
) -> None:
    """Search the smallest model for a data set that meets the limits of a device.

    Ends with chosen.tflite, chosen.keras, search.json, search.csv and search.html. The same command
    continues after a kill, and shares the trials with other processes that run it. Exit status 1:
    no model is as accurate as --min-accuracy asks.
    """
    limits = {"--max-kib": max_kib, "--deadline-us": deadline_us, "--temperature": temperature}
    for option, value in {**limits, "--budget-minutes": budget_minutes}.items():
        checks.check_number(option, value, 0.0)
    checks.check_number("--period-ms", period_ms, 0.0)
    checks.check_folder(out)
    effort = {"trials": trials, "epochs": epochs, "patience": patience}
    space: dict[str, Any] = {"cells": words(cells), "quantizations": words(quantize)}
    space |= {"units": numbers("--units", units), "layers": numbers("--layers", layers)}
    space |= {"strides": numbers("--strides", strides), "ranks": numbers("--ranks", ranks)}
    space["sparsities"] = fractions("--sparsities", sparsities)

    from kgated.search.choice import Goal
    from kgated.search.files import Budget
    from kgated.search.options import SearchOptions
    from kgated.search.run import search_models
    from kgated.search.space import SearchSpace
    from kgated.search.study import Effort

    settings = SearchOptions(
        Budget(max_kib, deadline_us, compressed),
        SearchSpace(**space),
        Effort(seconds=60.0 * budget_minutes, **effort),
        Goal(min_accuracy, tolerance / 100.0),
        device,
        runner,
        teacher,
        temperature,
        soft_weight,
        None if period_ms is None else period_ms / 1e3,
        group,
        storage=storage,
    )
    if not search_models(data, out, settings, test=test).reached:
        raise typer.Exit(1)


def fractions(option: str, text: str) -> list[float]:
    """The numbers of an option, separated by commas; `ValueError` for anything else."""
    try:
        values = [float(word) for word in words(text)]
    except ValueError:
        values = []
    if not values:
        raise ValueError(f"{option} must be numbers such as 0,0.5. Received: {text!r}")
    return values
