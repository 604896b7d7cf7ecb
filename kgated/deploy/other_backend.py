"""A whole conversion in the worker process, on the TensorFlow backend."""

import json
import tempfile
from pathlib import Path

import keras

from kgated.deploy.metadata import ConversionOptions
from kgated.deploy.verification.compare import Agreement
from kgated.deploy.worker import run_job
from kgated.errors import ConversionError

CONVERT = "kgated.deploy.convert_job:convert_job"


def convert_on_tensorflow(
    model: keras.Model, path: Path, options: ConversionOptions
) -> dict[str, Agreement]:
    """Save the model and the options, and convert them in the worker process.

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
            run_job(CONVERT, folder, what, "Try another `quantize`")
        except RuntimeError as error:
            raise ConversionError(str(error)) from None
        outputs = json.loads((folder / "outputs.json").read_text())
        return {name: Agreement(**agreement) for name, agreement in outputs.items()}
