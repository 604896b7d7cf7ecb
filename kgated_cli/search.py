"""`kgated search`: the smallest model that meets the limits of a device."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from kgated_cli import checks, options, search_options
from kgated_cli.app import app
from kgated_cli.compare import continues_later, numbers, words


@app.command()
def search(
    data: options.TrainingData,
    max_kib: search_options.MaxKib,
    deadline_us: search_options.DeadlineUs = None,
    device: search_options.SearchDevice = "local",
    runner: search_options.RunnerCommand = "kgated-edge",
    cells: search_options.SearchedCells = "lstm,peephole,gru,mingru,minlstm",
    units: options.ComparedUnits = "4,6,8,12,16,24,32,48,64",
    layers: options.ComparedLayers = "1,2",
    strides: search_options.Strides = "1,2,4",
    ranks: search_options.Ranks = "1,2,4",
    sparsities: search_options.Sparsities = "0",
    quantize: search_options.SearchedRecipes = "none,dynamic,int8,int16x8,dynamic4",
    compressed: search_options.Compressed = False,
    teacher: search_options.TeacherModel = None,
    temperature: search_options.Temperature = 3.0,
    soft_weight: search_options.SoftWeight = 0.5,
    trials: search_options.SearchTrials = 40,
    budget_minutes: search_options.SearchMinutes = 30.0,
    epochs: options.Epochs = 100,
    patience: options.Patience = 20,
    min_accuracy: search_options.MinAccuracy = None,
    tolerance: search_options.AccuracyTolerance = 1.0,
    period_ms: options.ComparedPeriod = None,
    group: options.StayTogether = None,
    test: options.TestData = None,
    task: options.ComparedTask = None,
    storage: options.TrialStorage = None,
    out: search_options.SearchFolder = Path("kgated-search"),
) -> None:
    """Search the smallest model for a data set that meets the limits of a device.

    Ends with chosen.tflite, chosen.keras, search.json, search.csv and search.html. The same command
    continues after a kill, and shares the trials with other processes that run it. Exit status 1:
    no model is as accurate as --min-accuracy asks.
    """
    values = dict(locals())
    checks.check_folder(out)
    settings = settings_of(values)

    from kgated.search import search_models

    with continues_later():
        results = search_models(data, out, settings, test=test)
    if not results.reached:
        raise typer.Exit(1)


def settings_of(values: Mapping[str, Any]) -> Any:
    """The `SearchOptions` of the command's arguments, checked; `ValueError`."""
    for name in ("max_kib", "deadline_us", "temperature", "budget_minutes"):
        checks.check_number(f"--{name.replace('_', '-')}", values[name], 0.0)
    listed = ("units", "layers", "strides", "ranks")
    space: dict[str, Any] = {name: numbers(f"--{name}", values[name]) for name in listed}
    space |= {"cells": words(values["cells"]), "quantizations": words(values["quantize"])}
    space["sparsities"] = fractions("--sparsities", values["sparsities"])

    from kgated.search import Budget, Effort, Goal, SearchOptions, SearchSpace

    plain = ("device", "runner", "teacher", "temperature", "soft_weight", "group", "task")
    return SearchOptions(
        Budget(values["max_kib"], values["deadline_us"], values["compressed"]),
        SearchSpace(**space),
        Effort(
            values["trials"], 60.0 * values["budget_minutes"], values["epochs"], values["patience"]
        ),
        Goal(values["min_accuracy"], values["tolerance"] / 100.0),
        period_s=checks.seconds_of("--period-ms", values["period_ms"]),
        storage=values["storage"],
        **{name: values[name] for name in plain},
    )


def fractions(option: str, text: str) -> list[float]:
    """The numbers of an option, separated by commas; `ValueError` for anything else."""
    try:
        values = [float(word) for word in words(text)]
    except ValueError:
        values = []
    if not values:
        raise ValueError(f"{option} must be numbers such as 0,0.5. Received: {text!r}")
    return values
