"""Client of the worker process, which runs native code that may crash.

That is the conversion, the quantization and the first run of a new file.
"""

import errno
import json
import shutil
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from kgated.deploy.recipe import Recipe
from kgated.deploy.tflite.operator_runs import SUSPECT
from kgated.errors import ConversionError, first_line
from kgated_worker import CONVERT, RUN, WORKER, CrashError, JobError

_MORE_MEMORY = "Give it more memory, or a smaller model, batch or calibration"
_MORE_ROOM = "Make room in the folder of temporary files, or name another one by TMPDIR"
_FULL = tuple(f"[Errno {number}]" for number in (errno.ENOSPC, errno.EDQUOT))
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
        JobError: it refused the model; the message is its own, of many lines.
    """
    job = {"signatures": list(signatures), "allow_custom_ops": allow_custom}
    (folder / "job.json").write_text(json.dumps(job))
    hint = "Try another `mode` or `lowering`, or take layers out to find the one"
    _run(CONVERT, folder, "it", hint)
    return (folder / "made.tflite").read_bytes()


def run_in_worker(path: Path, recipe: Recipe) -> None:
    """Run a file once, before this process does.

    Raises:
        ConversionError: it does not run, or ends the process.
    """
    what, hint = f"the file of recipe {recipe.name}", "Try another `quantize` or `lowering`"
    try:
        _run(RUN, path, what, hint, path)
    except JobError as error:
        shortage = _shortage(error)
        site = "" if shortage else _crash_site(path)
        reason = _reason(error) if shortage else first_line(error)
        raise ConversionError(f"{what} does not run{site}: {reason}. {shortage or hint}") from None


def run_job(
    work: str,
    place: Path,
    what: str,
    hint: str,
    suspect: Path | None = None,
    plain_kinds: Collection[str] = (ConversionError.__name__,),
) -> None:
    """Run a job in the worker process, and wait for it.

    Args:
        work: "module:function" of `place`.
        place: the folder or file of the job.
        what: what is done, for the error.
        hint: what to do, for the error.
        suspect: the file that runs, or a folder that holds it after a crash; see `operator_runs`.
        plain_kinds: the types of exceptions whose messages are for the user as they are.

    Raises:
        ConversionError: the job raised an exception, or the process crashed.
    """
    try:
        _run(work, place, what, hint, suspect)
    except JobError as error:
        if error.kind in plain_kinds:
            raise ConversionError(str(error)) from None
        stage = f" at {error.stage}" if error.stage else ""
        raise ConversionError(
            f"{what} failed{stage}: {_reason(error)}; nothing was written. "
            f"{_shortage(error) or hint}"
        ) from None


def _run(work: str, place: Path, what: str, hint: str, suspect: Path | None = None) -> None:
    """As `run_job`; raises `JobError` for an exception of the job."""
    try:
        WORKER.run(work, place)
    except CrashError as error:
        site = "" if suspect is None else _crash_site(suspect)
        raise ConversionError(
            f"{what} crashed {error}{site}; nothing was written. {hint}"
        ) from None


def _shortage(error: JobError) -> str:
    """What to do where a job lacked memory or room on a disk; else ""."""
    if error.kind == "MemoryError":
        return _MORE_MEMORY
    return _MORE_ROOM if error.kind == "OSError" and str(error).startswith(_FULL) else ""


def _reason(error: JobError) -> str:
    """The type of a job's exception, and the first line of its message."""
    return f"{error.kind}: {first_line(error)}" if str(error).strip() else error.kind


def _crash_site(suspect: Path) -> str:
    """The operator and layer at which a file crashes or fails, for the error; else ""."""
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
    except (CrashError, JobError) as error:
        return f", {error.stage}" if error.stage else ""
    return ""
