"""A whole conversion in a process of its own, on the TensorFlow backend."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kgated.deploy import child
from kgated.deploy.metadata import Facts
from kgated.deploy.recipe import Recipe
from kgated.deploy.verification.compare import Agreement


def run_convert(
    model: keras.Model, path: Path, recipe: Recipe, facts: Facts
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
        command += ["--target", recipe.target, "--batch", str(recipe.batch)]
        command += [option for name in recipe.skip for option in ("--skip", name)]
        command += ["--lowering", recipe.lowering] if recipe.mode == "sequence" else []
        command += _options(Path(folder), facts)
        what = f"the conversion, recipe {recipe.name},"
        child.run("kgated_cli", command, what, {"KERAS_BACKEND": "tensorflow"})
        outputs = json.loads(report.read_text())["outputs"]
        return {name: Agreement(**one) for name, one in outputs.items()}


def _options(folder: Path, facts: Facts) -> list[str]:
    options = []
    if facts.calibration is not None:
        options += ["--calibration", str(_as_file(folder, facts.calibration))]
    if facts.labels is not None:
        Path(folder, "labels.txt").write_text("\n".join(facts.labels), encoding="utf-8")
        options += ["--labels", str(folder / "labels.txt")]
    for name, value in (facts.figures or {}).items():
        options += ["--figure", f"{name}={value!r}"]
    if facts.sample_period_s is not None:
        options += ["--sample-period-ms", repr(1000.0 * facts.sample_period_s)]
    for name in ("length", "max_length"):
        if (value := getattr(facts, name)) is not None:
            options += [f"--{name.replace('_', '-')}", str(value)]
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
