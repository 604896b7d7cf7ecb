"""Static quantization in a process of its own: kernels end a process where a file is bad.

`python -m kgated.deploy.worker FOLDER` does the work that `quantize_apart` left in a folder.
"""

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kgated.deploy import child
from kgated.deploy.quantize import quantize, try_once
from kgated.deploy.recipe import Recipe
from kgated.deploy.ties import Ties
from kgated.errors import ConversionError

NAME = __name__ if __name__ != "__main__" else "kgated.deploy.worker"


def quantize_apart(
    tflite: bytes, recipe: Recipe, samples: Sequence[dict[str, np.ndarray]], ties: Ties
) -> bytes:
    """What `quantize` does, in another process, and one run of the result there.

    Raises:
        ConversionError: as from `quantize`, or the process crashed.
    """
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder)
        (job / "float.tflite").write_bytes(tflite)
        names = list(samples[0]) if samples else []
        arrays: dict[str, Any] = {n: np.stack([s[n] for s in samples]) for n in names}
        np.savez(job / "samples.npz", **arrays)
        facts = {"recipe": recipe.as_dict(), "ties": [list(tie) for tie in ties]}
        (job / "job.json").write_text(json.dumps(facts))
        what = f"the quantizer, recipe {recipe.name},"
        # No tensor is computed over there: the lightest backend will do.
        child.run(NAME, [folder], what, {"KERAS_BACKEND": "numpy"})
        return (job / "made.tflite").read_bytes()


def main(folder: str) -> None:
    """Do the work in a folder of `quantize_apart`."""
    job = Path(folder)
    facts = json.loads((job / "job.json").read_text())
    recipe = Recipe(**{**facts["recipe"], "skip": tuple(facts["recipe"]["skip"])})
    with np.load(job / "samples.npz") as arrays:
        samples = list(_unstacked(dict(arrays)))
    tflite = (job / "float.tflite").read_bytes()
    made = quantize(tflite, recipe, samples, [(a, b) for a, b in facts["ties"]])
    try_once(made, recipe, samples[0])
    (job / "made.tflite").write_bytes(made)


def _unstacked(arrays: dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    for values in zip(*arrays.values(), strict=True):
        yield dict(zip(arrays, values, strict=True))


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except ConversionError as error:
        sys.exit(" ".join(str(error).split()))
