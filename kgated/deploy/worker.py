"""What may end a process, done in that of `kgated_worker`: conversion, quantizing, first runs."""

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
from kgated.errors import ConversionError
from kgated_worker import CONVERT, RUN, WORKER, CrashError, JobError

QUANTIZE = "kgated.deploy.worker:quantize_job"


def get_ready() -> None:
    """Start the process, so that it imports TensorFlow while this one looks at the model."""
    WORKER.start()


def convert_apart(folder: Path, signatures: Sequence[str], marks: bool) -> bytes:
    """The TFLite file of the saved model in `folder/saved`, its weights as they are.

    Args:
        folder: where the work is done.
        signatures: what of the model goes into the file.
        marks: whether operators that are no builtins may stand in it.

    Raises:
        ConversionError: the converter crashed.
        RuntimeError: it refused the model.
    """
    job = {"signatures": list(signatures), "allow_custom_ops": marks}
    (folder / "job.json").write_text(json.dumps(job))
    way_out = "Try another `mode` or `lowering`, or take layers out to find the one"
    _run(CONVERT, folder, "it", way_out)
    return (folder / "made.tflite").read_bytes()


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
        _run(QUANTIZE, folder, what, "Try another `quantize`")
        return (folder / "made.tflite").read_bytes()


def run_apart(path: Path, recipe: Recipe) -> None:
    """Run a file once, before this process does.

    Raises:
        ConversionError: it does not run, or ends the process.
    """
    what = f"the file of recipe {recipe.name}"
    try:
        _run(RUN, path, what, "Try another `quantize` or `lowering`")
    except RuntimeError as error:
        raise ConversionError(f"{what} does not run: {error}") from None


def _run(work: str, place: Path, what: str, way_out: str) -> None:
    try:
        WORKER.run(work, place)
    except CrashError as error:
        raise ConversionError(f"{what} crashed {error}; nothing was written. {way_out}") from None
    except JobError as error:
        kind = ConversionError if error.kind == ConversionError.__name__ else RuntimeError
        raise kind(str(error)) from None


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
