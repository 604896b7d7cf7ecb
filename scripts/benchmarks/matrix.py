"""Which models become a file that computes the same: the stock converter's count, and ours."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from kgated_edge import SequenceModel

import kgated
from benchmarks import stock
from benchmarks.stock import Job
from benchmarks.tables import Row
from kgated.deploy.recipe import LIMITS
from kgated.errors import ConversionError

BATCHES, RECIPES = (None, 1), ("none", "dynamic", "int8")
STEPS, FEATURES, UNITS = 16, 8, 8
ODD = {"activation": "relu", "recurrent_activation": "hard_sigmoid"}
ALL = {"coupled_gates": True, "projection_units": 3, "layer_norm": True}
TEXTBOOK = {"peephole": "full", "output_peephole": "previous"}
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "LSTM": [
        {},
        {"use_bias": False},
        {"unit_forget_bias": False, **ODD},
        {"coupled_gates": True},
        {"projection_units": 3},
        {"layer_norm": True},
        {"layer_norm": True, "use_bias": False},
        ALL,
    ],
    "PeepholeLSTM": [
        {},
        {"output_peephole": "previous"},
        {"peephole": "full"},
        TEXTBOOK,
        {"coupled_gates": True},
        {"projection_units": 3},
        {"layer_norm": True},
        {**TEXTBOOK, **ALL},
    ],
    "GRU": [
        {},
        {"use_bias": False, **ODD},
        {"update_gate": "state"},
        {"reset_after": True},
        {"reset_after": True, "use_bias": False},
        {"reset_after": True, "update_gate": "state"},
    ],
}


def stock_jobs(models: list[str]) -> list[Job]:
    """Every stock model, `Input` and recipe."""
    return [
        Job(model, batch, quantize, STEPS, FEATURES, UNITS)
        for model in models
        for batch in BATCHES
        for quantize in RECIPES
    ]


def variants(kinds: list[str]) -> Iterator[tuple[str, keras.Model, str]]:
    """Name, model and recipe of every variant of our cells."""
    for kind in kinds:
        for options in VARIANTS[kind]:
            for batch in BATCHES:
                named = " ".join(f"{k}={v}" for k, v in options.items())
                first = keras.Input((STEPS, FEATURES), batch_size=batch)
                for quantize in RECIPES:
                    layer = getattr(kgated, kind)(UNITS, **options)
                    name = f"kgated.{kind}({named}), batch {batch or 'free'}, {quantize}"
                    yield name, keras.Sequential([first, layer]), quantize


def ours(model: keras.Model, x: np.ndarray, quantize: str) -> tuple[float, str]:
    """Convert, run by itself, compare with Keras.

    Args:
        model: its weights are moved at random, so that none is zero.
        x: (N, T, ...) sequences.
        quantize: the recipe.

    Returns:
        The largest absolute error, and "", or why there is no file or not a right one.
    """
    rng = np.random.default_rng(1)
    model.set_weights([w + rng.normal(0, 0.3, w.shape) for w in model.get_weights()])
    expected = np.concatenate([np.asarray(model(one[None], training=False)) for one in x])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.tflite")
        try:
            kgated.to_tflite(model, path, mode="sequence", quantize=quantize, calibration=x)
        except (ConversionError, ValueError) as refused:
            return np.nan, str(refused)
        edge = SequenceModel(path)
        error = float(np.abs(np.stack([edge.run(one) for one in x]) - expected).max())
    limit = LIMITS[quantize] * max(1.0, float(np.abs(expected).max()))
    return error, "" if error <= limit else f"error {error:.3g} above {limit:.3g}"


def count(what: str, errors: dict[str, list[float]], failed: dict[str, str], stock: Any) -> Row:
    """One row: how many of how many."""
    total = sum(map(len, errors.values()))
    worst = {f"worst_error_{name}": max(found) for name, found in errors.items()}
    return {
        "models": what,
        "conversions": total,
        "stock_converts": stock,
        "kgated_agrees": total - len(failed),
        **{name: f"{value:.1e}" for name, value in worst.items()},
        "met": not failed,
    }


def matrix(
    models: list[str] | None = None, kinds: list[str] | None = None
) -> tuple[list[Row], dict[str, str]]:
    """Both counts, and by name what failed and why: ours, and the stock converter's."""
    jobs = stock_jobs(stock.MATRIX if models is None else models)
    results = stock.run_jobs(jobs)
    failed = {f"stock: {j}": why for j, why in zip(jobs, results, strict=True) if why}
    cases = [(str(j), stock.build(j), stock.samples(j), j.quantize) for j in jobs]
    rows = [_ours("stock Keras layers", cases, failed, results.count(""))]
    x = stock.samples(Job("LSTM", None, "none", STEPS, FEATURES, UNITS))
    cells = [(*one[:2], x, one[2]) for one in variants(list(VARIANTS) if kinds is None else kinds)]
    return [*rows, _ours("kgated's cells, every variant", cells, failed, None)], failed


def _ours(what: str, cases: list[Any], failed: dict[str, str], stock: int | None) -> Row:
    errors: dict[str, list[float]] = {quantize: [] for quantize in RECIPES}
    bad = {}
    for name, model, x, quantize in cases:
        error, why = ours(model, x, quantize)
        errors[quantize].append(error)
        if why:
            bad[f"kgated: {name}"] = why
    failed |= bad
    return count(what, errors, bad, stock)
