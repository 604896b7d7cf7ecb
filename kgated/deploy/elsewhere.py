"""A whole conversion in a process of its own, on the TensorFlow backend."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kgated.deploy import child
from kgated.deploy.recipe import Recipe
from kgated.deploy.verify import Agreement


def run_convert(
    model: keras.Model,
    path: Path,
    recipe: Recipe,
    calibration: Any,
    labels: Sequence[str] | None,
    sample_period_s: float | None,
) -> dict[str, Agreement]:
    """Save the model, and convert it by the command line under TensorFlow.

    Returns:
        How each output agrees, by name.

    Raises:
        ConversionError: with the last line that the child wrote.
    """
    with tempfile.TemporaryDirectory() as folder:
        saved, report = Path(folder, "model.keras"), Path(folder, "report.json")
        model.save(saved)
        command = ["convert", str(saved), str(path), "--mode", recipe.mode]
        command += ["--quantize", recipe.quantize, "--state", recipe.state, "--json", str(report)]
        command += ["--target", recipe.target]
        command += [option for name in recipe.skip for option in ("--skip", name)]
        command += _options(Path(folder), calibration, labels, sample_period_s)
        what = f"the conversion, recipe {recipe.name},"
        child.run("kgated_cli", command, what, {"KERAS_BACKEND": "tensorflow"})
        outputs = json.loads(report.read_text())["outputs"]
        return {name: Agreement(**one) for name, one in outputs.items()}


def _options(
    folder: Path, calibration: Any, labels: Sequence[str] | None, sample_period_s: float | None
) -> list[str]:
    options = []
    if calibration is not None:
        options += ["--calibration", str(_as_file(folder, calibration))]
    if labels is not None:
        Path(folder, "labels.txt").write_text("\n".join(labels), encoding="utf-8")
        options += ["--labels", str(folder / "labels.txt")]
    if sample_period_s is not None:
        options += ["--sample-period-ms", repr(1000.0 * sample_period_s)]
    return options


def _as_file(folder: Path, calibration: Any) -> Path:
    if isinstance(calibration, str | Path):
        return Path(calibration)
    path = folder / "calibration.npz"
    if isinstance(calibration, np.ndarray):
        np.savez(path, x=calibration)
    elif isinstance(calibration, Mapping):
        np.savez(path, **calibration)
    else:
        arrays = calibration.inputs or {"x": calibration.x}
        np.savez(path, lengths=calibration.lengths, **arrays)
    return path
