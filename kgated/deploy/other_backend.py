"""A whole conversion in the worker process, on the TensorFlow backend."""

import json
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import keras

from kgated.deploy.metadata import ConversionOptions
from kgated.deploy.verification.accuracy import Evaluation
from kgated.deploy.verification.compare import Agreement
from kgated.deploy.worker import run_job
from kgated.errors import ConversionError

Results = tuple[Mapping[str, Agreement], Evaluation | None]
Convert = Callable[[keras.Model, Path, ConversionOptions], Results]


def convert_on_tensorflow(
    model: keras.Model, path: Path, options: ConversionOptions, job: str
) -> Results:
    """Save the model and the options, and convert them in the worker process.

    Args:
        model: built on another backend.
        path: the file to write.
        options: of the conversion.
        job: the function "module:name" of the worker that takes the folder's name, and calls
            `convert_saved` on it.

    Returns:
        How each output agrees, by name, and the accuracy of both models.

    Warns:
        UserWarning: what the conversion warned of.

    Raises:
        ConversionError: the conversion failed or crashed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.save(folder / "model.keras")
        options.save(folder)
        (folder / "job.json").write_text(json.dumps({"path": str(path.resolve())}))
        what = f"the conversion, recipe {options.recipe.name},"
        plain_kinds = [kind.__name__ for kind in (ConversionError, ValueError, TypeError)]
        run_job(job, folder, what, "Try another `quantize`", plain_kinds=plain_kinds)
        report = json.loads((folder / "report.json").read_text())
    for message in report["warnings"]:
        warnings.warn(message, UserWarning, stacklevel=4)
    outputs = {name: Agreement(**agreement) for name, agreement in report["outputs"].items()}
    return outputs, None if (e := report["evaluation"]) is None else Evaluation.from_dict(e)


def convert_saved(folder: Path, convert: Convert) -> None:
    """The worker's part: convert what `convert_on_tensorflow` saved.

    Args:
        folder: of the saved model and options; the results and warnings are written there.
        convert: converts a model, and returns how each output agrees, and the evaluation.
    """
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    path = json.loads((folder / "job.json").read_text())["path"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        outputs, evaluation = convert(model, Path(path), ConversionOptions.load(folder))
    report = {
        "outputs": {name: asdict(agreement) for name, agreement in outputs.items()},
        "evaluation": None if evaluation is None else asdict(evaluation),
        "warnings": [str(w.message) for w in caught if w.category is UserWarning],
    }
    (folder / "report.json").write_text(json.dumps(report))
