"""Quantization in the worker process, from a float file to the finished one."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kgated.deploy.manifest_writer import manifest_of
from kgated.deploy.quantization.finish import finish
from kgated.deploy.quantization.quantize import quantize
from kgated.deploy.quantization.quantizer_rules import try_once
from kgated.deploy.quantization.ranges.calibration import Ranges
from kgated.deploy.quantization.scales.shared_scales import SharedScales
from kgated.deploy.recipe import Recipe
from kgated.deploy.tflite.float_file import FloatFile
from kgated.deploy.tflite.layer_table import LayerTable
from kgated.deploy.tflite.operator_runs import SUSPECT
from kgated.deploy.worker import run_job
from kgated_worker import begin

QUANTIZE = "kgated.deploy.quantization.worker_job:quantize_job"
Samples = Sequence[dict[str, np.ndarray]]


@dataclass(frozen=True)
class QuantizationJob:
    """A float file with the options of its quantization.

    Attributes:
        content: the float file, with its manifest.
        layers: which layer each operator comes from.
        recipe: a static one.
        samples: the signature's inputs by name.
        shared: (input, output) of the signature that share scale and zero point.
        ranges: by tensor name, from quantization-aware training; None: those of the samples.
        origins: the sequence that each sample is of; None: each of one of its own.
    """

    content: bytes
    layers: LayerTable
    recipe: Recipe
    samples: Samples
    shared: SharedScales = ()
    ranges: Ranges | None = None
    origins: Sequence[int] | None = None

    def save(self, folder: Path) -> None:
        """Write the job into a folder, for another process."""
        (folder / "float.tflite").write_bytes(self.content)
        names = list(self.samples[0]) if self.samples else []
        arrays: dict[str, Any] = {n: np.stack([s[n] for s in self.samples]) for n in names}
        np.savez(folder / "samples.npz", **arrays)
        options = {
            "recipe": self.recipe.as_dict(),
            "layers": self.layers.as_dict(),
            "shared": [list(pair) for pair in self.shared],
            "ranges": None if self.ranges is None else _as_lists(self.ranges),
            "origins": None if self.origins is None else list(self.origins),
        }
        (folder / "job.json").write_text(json.dumps(options))

    @classmethod
    def load(cls, folder: Path) -> "QuantizationJob":
        """Read the job that `save` wrote."""
        options = json.loads((folder / "job.json").read_text())
        with np.load(folder / "samples.npz") as arrays:
            samples = list(_unstacked(dict(arrays)))
        return cls(
            (folder / "float.tflite").read_bytes(),
            LayerTable(options["layers"]),
            Recipe.from_dict(options["recipe"]),
            samples,
            [(before, after) for before, after in options["shared"]],
            None if options["ranges"] is None else _as_arrays(options["ranges"]),
            options["origins"],
        )


def quantized_file(job: QuantizationJob) -> bytes:
    """Quantize a float file and finish it.

    Returns:
        The finished file, with its manifest.

    Raises:
        ConversionError: as from `quantize` and `finish`.
    """
    file = FloatFile.from_bytes(job.content, job.layers)
    manifest = manifest_of(file.model)
    quantized = quantize(file, job.recipe, job.samples, job.shared, job.ranges, job.origins)
    return finish(quantized, job.layers, job.recipe, manifest)


def quantize_in_worker(job: QuantizationJob) -> bytes:
    """`quantized_file` in the worker process, and one run of the result there.

    Raises:
        ConversionError: as from `quantized_file`; the file does not run; the process crashed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job.save(folder)
        what = f"the quantizer, recipe {job.recipe.name},"
        run_job(QUANTIZE, folder, what, "Try another `quantize`", folder)
        return (folder / "quantized.tflite").read_bytes()


def quantize_job(name: str) -> None:
    """The worker's part of `quantize_in_worker`, in the folder of that name."""
    folder = Path(name)
    job = QuantizationJob.load(folder)
    (folder / SUSPECT).write_bytes(job.content)
    quantized = quantized_file(job)
    (folder / SUSPECT).write_bytes(quantized)
    begin("the first run of the quantized file")
    try_once(quantized, job.recipe, job.samples[0])
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
