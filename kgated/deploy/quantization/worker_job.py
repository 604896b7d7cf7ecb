"""Quantization in the worker process."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kgated.deploy.quantization.calibration import Ranges
from kgated.deploy.quantization.quantize import quantize, try_once
from kgated.deploy.quantization.shared_scales import Ties
from kgated.deploy.recipe import Recipe
from kgated.deploy.worker import run_job

QUANTIZE = "kgated.deploy.quantization.worker_job:quantize_job"


def quantize_apart(
    tflite: bytes,
    recipe: Recipe,
    samples: Sequence[dict[str, np.ndarray]],
    ties: Ties,
    found: Ranges | None = None,
) -> bytes:
    """What `quantize` does, over there, and one run of the result.

    Raises:
        ConversionError: as from `quantize`, or the process crashed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "float.tflite").write_bytes(tflite)
        names = list(samples[0]) if samples else []
        arrays: dict[str, Any] = {n: np.stack([s[n] for s in samples]) for n in names}
        np.savez(folder / "samples.npz", **arrays)
        limits = {n: [one["min"].tolist(), one["max"].tolist()] for n, one in (found or {}).items()}
        facts = {"recipe": recipe.as_dict(), "ties": [list(tie) for tie in ties], "found": limits}
        (folder / "job.json").write_text(json.dumps(facts))
        what = f"the quantizer, recipe {recipe.name},"
        run_job(QUANTIZE, folder, what, "Try another `quantize`")
        return (folder / "made.tflite").read_bytes()


def quantize_job(name: str) -> None:
    """The work of `quantize_apart`, over there."""
    folder = Path(name)
    facts = json.loads((folder / "job.json").read_text())
    recipe = Recipe(**{**facts["recipe"], "skip": tuple(facts["recipe"]["skip"])})
    with np.load(folder / "samples.npz") as arrays:
        samples = list(_unstacked(dict(arrays)))
    tflite = (folder / "float.tflite").read_bytes()
    found = {
        name: {"min": np.array(least, np.float32), "max": np.array(most, np.float32)}
        for name, (least, most) in facts["found"].items()
    }
    made = quantize(tflite, recipe, samples, [(a, b) for a, b in facts["ties"]], found or None)
    try_once(made, recipe, samples[0])
    (folder / "made.tflite").write_bytes(made)


def _unstacked(arrays: dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    for values in zip(*arrays.values(), strict=True):
        yield dict(zip(arrays, values, strict=True))
