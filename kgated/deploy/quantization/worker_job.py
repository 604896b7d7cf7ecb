"""Quantization in the worker process, from a float file to the finished one."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kgated.deploy.manifest_writer import manifest_of
from kgated.deploy.quantization.calibration import Ranges
from kgated.deploy.quantization.finish import finish
from kgated.deploy.quantization.quantize import quantize
from kgated.deploy.quantization.quantizer_rules import try_once
from kgated.deploy.quantization.shared_scales import SharedScales
from kgated.deploy.recipe import Recipe
from kgated.deploy.tflite.float_file import FloatFile
from kgated.deploy.tflite.layer_table import LayerTable
from kgated.deploy.tflite.operator_runs import SUSPECT
from kgated.deploy.worker import run_job
from kgated_worker import begin

QUANTIZE = "kgated.deploy.quantization.worker_job:quantize_job"
Samples = Sequence[dict[str, np.ndarray]]


def quantized_file(
    content: bytes,
    layers: LayerTable,
    recipe: Recipe,
    samples: Samples,
    shared: SharedScales = (),
    ranges: Ranges | None = None,
    origins: Sequence[int] | None = None,
) -> bytes:
    """Quantize a float file and finish it.

    Args:
        content: the float file, with its manifest.
        layers: which layer each operator comes from.
        recipe: a static one.
        samples: the signature's inputs by name.
        shared: (input, output) of the signature that share scale and zero point.
        ranges: by tensor name, from quantization-aware training; None: those of the samples.
        origins: the sequence that each sample is of; None: each of one of its own.

    Returns:
        The finished file, with its manifest.

    Raises:
        ConversionError: as from `quantize` and `finish`.
    """
    file = FloatFile.from_bytes(content, layers)
    manifest = manifest_of(file.model)
    quantized = quantize(file, recipe, samples, shared, ranges, origins)
    return finish(quantized, layers, recipe, manifest)


def quantize_in_worker(
    content: bytes,
    layers: LayerTable,
    recipe: Recipe,
    samples: Samples,
    shared: SharedScales = (),
    ranges: Ranges | None = None,
    origins: Sequence[int] | None = None,
) -> bytes:
    """`quantized_file` in the worker process, and one run of the result there.

    Raises:
        ConversionError: as from `quantized_file`; the file does not run; the process crashed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "float.tflite").write_bytes(content)
        names = list(samples[0]) if samples else []
        arrays: dict[str, Any] = {n: np.stack([s[n] for s in samples]) for n in names}
        np.savez(folder / "samples.npz", **arrays)
        job = {
            "recipe": recipe.as_dict(),
            "layers": layers.as_dict(),
            "shared": [list(pair) for pair in shared],
            "ranges": None if ranges is None else _as_lists(ranges),
            "origins": None if origins is None else list(origins),
        }
        (folder / "job.json").write_text(json.dumps(job))
        what = f"the quantizer, recipe {recipe.name},"
        run_job(QUANTIZE, folder, what, "Try another `quantize`", folder)
        return (folder / "quantized.tflite").read_bytes()


def quantize_job(name: str) -> None:
    """The worker's part of `quantize_in_worker`, in the folder of that name."""
    folder = Path(name)
    job = json.loads((folder / "job.json").read_text())
    (folder / SUSPECT).write_bytes((folder / "float.tflite").read_bytes())
    with np.load(folder / "samples.npz") as arrays:
        samples = list(_unstacked(dict(arrays)))
    recipe = Recipe.from_dict(job["recipe"])
    quantized = quantized_file(
        (folder / "float.tflite").read_bytes(),
        LayerTable(job["layers"]),
        recipe,
        samples,
        [(before, after) for before, after in job["shared"]],
        None if job["ranges"] is None else _as_arrays(job["ranges"]),
        job["origins"],
    )
    (folder / SUSPECT).write_bytes(quantized)
    begin("the first run of the quantized file")
    try_once(quantized, recipe, samples[0])
    (folder / "quantized.tflite").write_bytes(quantized)


def _as_lists(ranges: Ranges) -> dict[str, list[Any]]:
    return {
        name: [limits["min"].tolist(), limits["max"].tolist()] for name, limits in ranges.items()
    }


def _as_arrays(lists: dict[str, list[Any]]) -> Ranges:
    return {
        name: {"min": np.array(low, np.float32), "max": np.array(high, np.float32)}
        for name, (low, high) in lists.items()
    }


def _unstacked(arrays: dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    for values in zip(*arrays.values(), strict=True):
        yield dict(zip(arrays, values, strict=True))
