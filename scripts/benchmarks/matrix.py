"""Which models convert to a file that computes the same: by the stock converter and by kgated.

The models are tiny. Each is converted, run and compared in a worker process, two at a time.
"""

import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
from kgated_edge import SequenceModel

import kgated
from benchmarks import stock
from benchmarks.stock import Job
from benchmarks.tables import Row
from benchmarks.worker_pool import run_all, serve
from kgated.deploy.recipe import QUANTIZATIONS

Result = tuple[float | None, str]

BATCHES, RECIPES = (None, 1), ("none", "dynamic", "int8")
STEPS, FEATURES, UNITS = 8, 6, 8
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


def jobs_of(model: str, **more: Any) -> list[Job]:
    """Every `Input` and recipe of a model; `more` as `Job` has it."""
    return [
        Job(model, batch, quantize, STEPS, FEATURES, UNITS, **more)
        for batch in BATCHES
        for quantize in RECIPES
    ]


def variants(kinds: Iterable[str]) -> list[Job]:
    """Every variant of kgated's cells."""
    pairs = [(kind, options) for kind in kinds for options in VARIANTS[kind]]
    return [
        job for kind, options in pairs for job in jobs_of(kind, package="kgated", options=options)
    ]


def kgated_result(job: Job) -> Result:
    """Convert by kgated, run the file, and compare with Keras.

    Returns:
        The largest absolute error (None without a file), and the reason of a failure or "".
    """
    keras.utils.set_random_seed(0)
    model, x = stock.build(job), stock.samples(job)
    rng = np.random.default_rng(1)  # peepholes start at zero, so randomize all weights
    model.set_weights([w + rng.normal(0, 0.3, w.shape) for w in model.get_weights()])
    expected = np.concatenate([np.asarray(model(sequence[None], training=False)) for sequence in x])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.tflite")
        try:
            kgated.to_tflite(model, path, mode="sequence", quantize=job.quantize, calibration=x)
        except Exception as refused:  # any exception counts as a failure of this row
            return None, str(refused) or repr(refused)
        edge = SequenceModel(path)
        error = float(np.abs(np.stack([edge.run(sequence) for sequence in x]) - expected).max())
    limit = QUANTIZATIONS[job.quantize].limit * max(1.0, float(np.abs(expected).max()))
    return error, "" if error <= limit else f"error {error:.3g} above {limit:.3g}"


def row(what: str, jobs: list[Job], results: list[Result], by_stock: int | None) -> Row:
    """One row: successful and total conversions, and the largest error of each recipe."""
    errors: dict[str, list[float]] = {quantize: [0.0] for quantize in RECIPES}
    for job, (error, _) in zip(jobs, results, strict=True):
        errors[job.quantize] += [] if error is None else [error]
    good = sum(not why for _, why in results)
    return {
        "models": what,
        "conversions": len(jobs),
        "stock_converts": by_stock,
        "kgated_agrees": good,
        **{
            f"worst_error_{name}": f"{max(errors_of_kind):.1e}"
            for name, errors_of_kind in errors.items()
        },
        "met": good == len(jobs),
    }


def matrix(
    models: Iterable[str] = stock.MATRIX, kinds: Iterable[str] = tuple(VARIANTS)
) -> tuple[list[Row], dict[str, str]]:
    """The counts of both converters, and the failures of each by name."""
    plain, cells = [job for model in models for job in jobs_of(model)], variants(kinds)
    by_stock = stock.run_jobs(plain)
    failed = {f"stock: {j}": why for j, why in zip(plain, by_stock, strict=True) if why}
    results = _run(plain + cells)
    for job, (_, why) in zip(plain + cells, results, strict=True):
        failed |= {f"kgated: {job}": why} if why else {}
    count = len(plain)
    return [
        row("stock Keras layers", plain, results[:count], by_stock.count("")),
        row("kgated's cells, every variant", cells, results[count:], None),
    ], failed


def _run(jobs: list[Job]) -> list[Result]:
    answers = run_all("benchmarks.matrix", [asdict(job) for job in jobs], "kgated's conversions")
    return [
        (None, answer) if isinstance(answer, str) else (answer[0], answer[1]) for answer in answers
    ]


if __name__ == "__main__":
    serve(lambda job: kgated_result(Job(**job)))
