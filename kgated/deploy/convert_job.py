"""The worker's part of a conversion from another backend."""

import json
from dataclasses import asdict
from pathlib import Path

import keras

import kgated.models  # noqa: F401 - registers the layers and the language model
from kgated.deploy.convert import convert
from kgated.deploy.metadata import ConversionOptions


def convert_job(name: str) -> None:
    """Convert the model saved in the folder of that name; see `convert_on_tensorflow`."""
    folder = Path(name)
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    path = json.loads((folder / "job.json").read_text())["path"]
    conversion = convert(model, Path(path), ConversionOptions.load(folder))
    outputs = {name: asdict(agreement) for name, agreement in conversion.outputs.items()}
    (folder / "outputs.json").write_text(json.dumps(outputs))
