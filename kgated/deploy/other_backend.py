"""A whole conversion in the worker process, on the TensorFlow backend."""

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import keras

from kgated.deploy.metadata import ConversionOptions
from kgated.deploy.verification.compare import Agreement
from kgated.deploy.worker import run_job
from kgated.errors import ConversionError

Convert = Callable[[keras.Model, Path, ConversionOptions], Mapping[str, Agreement]]


def convert_on_tensorflow(
    model: keras.Model, path: Path, options: ConversionOptions, job: str
) -> dict[str, Agreement]:
    """Save the model and the options, and convert them in the worker process.

    Args:
        model: built on another backend.
        path: the file to write.
        options: of the conversion.
        job: the function "module:name" of the worker that takes the folder's name, and calls
            `convert_saved` on it.

    Returns:
        How each output agrees, by name.

    Raises:
        ConversionError: the conversion failed or crashed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.save(folder / "model.keras")
        options.save(folder)
        (folder / "job.json").write_text(json.dumps({"path": str(path.resolve())}))
        what = f"the conversion, recipe {options.recipe.name},"
        try:
            run_job(job, folder, what, "Try another `quantize`")
        except RuntimeError as error:
            raise ConversionError(str(error)) from None
        outputs = json.loads((folder / "outputs.json").read_text())
        return {name: Agreement(**agreement) for name, agreement in outputs.items()}


def convert_saved(folder: Path, convert: Convert) -> None:
    """The worker's part: convert what `convert_on_tensorflow` saved.

    Args:
        folder: of the saved model and options; the agreement of each output is written there.
        convert: converts a model, and returns how each output agrees, by name.
    """
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    path = json.loads((folder / "job.json").read_text())["path"]
    agreements = convert(model, Path(path), ConversionOptions.load(folder))
    outputs = {name: asdict(agreement) for name, agreement in agreements.items()}
    (folder / "outputs.json").write_text(json.dumps(outputs))
