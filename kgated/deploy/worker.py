"""What may end a process, done in that of `kgated_worker`: conversion, quantizing, first runs."""

import json
from collections.abc import Sequence
from pathlib import Path

from kgated.deploy.recipe import Recipe
from kgated.errors import ConversionError
from kgated_worker import CONVERT, RUN, WORKER, CrashError, JobError


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
    run_job(CONVERT, folder, "it", way_out)
    return (folder / "made.tflite").read_bytes()


def run_apart(path: Path, recipe: Recipe) -> None:
    """Run a file once, before this process does.

    Raises:
        ConversionError: it does not run, or ends the process.
    """
    what = f"the file of recipe {recipe.name}"
    try:
        run_job(RUN, path, what, "Try another `quantize` or `lowering`")
    except RuntimeError as error:
        raise ConversionError(f"{what} does not run: {error}") from None


def run_job(work: str, place: Path, what: str, way_out: str) -> None:
    """Run a job in the worker process; a crash there is a ConversionError here."""
    try:
        WORKER.run(work, place)
    except CrashError as error:
        raise ConversionError(f"{what} crashed {error}; nothing was written. {way_out}") from None
    except JobError as error:
        kind = ConversionError if error.kind == ConversionError.__name__ else RuntimeError
        raise kind(str(error)) from None
