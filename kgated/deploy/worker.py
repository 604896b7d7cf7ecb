"""Client of the worker process, which runs native code that may crash.

That is the conversion, the quantization and the first run of a new file.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from kgated.deploy.recipe import Recipe
from kgated.deploy.tflite.operator_runs import SUSPECT
from kgated.errors import ConversionError
from kgated_worker import CONVERT, RUN, WORKER, CrashError, JobError

LOCATE = "kgated.deploy.tflite.operator_runs:locate_job"


def start_worker() -> None:
    """Start the process, so that it imports TensorFlow while this one looks at the model."""
    WORKER.start()


def convert_in_worker(folder: Path, signatures: Sequence[str], allow_custom: bool) -> bytes:
    """The TFLite file of the saved model in `folder/saved`, its weights as they are.

    Args:
        folder: where input and output of the job lie.
        signatures: what of the model goes into the file.
        allow_custom: whether operators that are no builtins may be in it.

    Raises:
        ConversionError: the converter crashed.
        RuntimeError: it refused the model.
    """
    job = {"signatures": list(signatures), "allow_custom_ops": allow_custom}
    (folder / "job.json").write_text(json.dumps(job))
    hint = "Try another `mode` or `lowering`, or take layers out to find the one"
    run_job(CONVERT, folder, "it", hint)
    return (folder / "made.tflite").read_bytes()


def run_in_worker(path: Path, recipe: Recipe) -> None:
    """Run a file once, before this process does.

    Raises:
        ConversionError: it does not run, or ends the process.
    """
    what = f"the file of recipe {recipe.name}"
    try:
        run_job(RUN, path, what, "Try another `quantize` or `lowering`", path)
    except RuntimeError as error:
        raise ConversionError(f"{what} does not run: {error}") from None


def run_job(work: str, place: Path, what: str, hint: str, suspect: Path | None = None) -> None:
    """Run a job in the worker process, and wait for it.

    Args:
        work: "module:function" of `place`.
        place: the folder or file of the job.
        what: what is done, for the error.
        hint: what to do after a crash, for the error.
        suspect: the file that runs, or a folder that holds it after a crash; see `operator_runs`.

    Raises:
        ConversionError: the job raised one, or the process crashed.
        RuntimeError: the job raised another exception.
    """
    try:
        WORKER.run(work, place)
    except CrashError as error:
        site = "" if suspect is None else _crash_site(suspect)
        raise ConversionError(
            f"{what} crashed {error}{site}; nothing was written. {hint}"
        ) from None
    except JobError as error:
        kind = ConversionError if error.kind == ConversionError.__name__ else RuntimeError
        raise kind(str(error)) from None


def _crash_site(suspect: Path) -> str:
    """The operator and layer at which a file crashes, for the error; "" if it does not crash."""
    if suspect.is_dir():
        return _located(suspect)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(suspect, Path(folder, SUSPECT))
        return _located(Path(folder))


def _located(folder: Path) -> str:
    if not (folder / SUSPECT).is_file():
        return ""
    try:
        WORKER.run(LOCATE, folder)
    except CrashError as error:
        return f", {error.stage}" if error.stage else ""
    except JobError:
        return ""
    return ""
