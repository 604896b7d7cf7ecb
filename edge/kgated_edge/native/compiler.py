"""Compiles the C sources of a model into a shared library in the same folder."""

import glob
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from kgated_edge.errors import EdgeError
from kgated_edge.format.reader import read_manifest
from kgated_edge.native.library import MARK, SUFFIX, Library, host, library_path

_COMPILERS = ("cc", "gcc", "clang")
_FLAGS = ("-std=c99", "-O3", "-shared", "-fPIC", "-fvisibility=hidden", "-DKGATED_NATIVE")
# Neither changes a result: errno and floating-point traps are not looked at.
_FAST = ("-fno-math-errno", "-fno-trapping-math")
_TUNED = ("-march=native", "-mprefer-vector-width=512"), ("-march=native",), ("-mcpu=native",), ()
_SECONDS = 600.0


def build(source: str | Path, compiler: str | None = None) -> Path:
    """Compiles `MODEL.c` and tests the library with the golden frames.

    Args:
        source: C sources made by `kgated convert --target c`, with `MODEL.h` and `MODEL.tflite`
            beside them.
        compiler: its name or path; None: the environment's CC, or cc, gcc or clang.

    Returns:
        the library's path.

    Raises:
        EdgeError: no compiler, no such sources, sources of another file, or a failing self-test.
            A library that was there before stays then.
    """
    path = Path(source)
    model, command = path.with_suffix(".tflite"), _compiler(compiler)
    _check_source(path)
    digest = read_manifest(model).file_sha256
    library = library_path(model, digest)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}.") as folder:
        scratch = Path(folder) / library.name
        _compile(command, path, scratch)
        Library.open(scratch, digest)
        scratch.replace(library)
    for older in path.parent.glob(f"{glob.escape(path.stem)}.*{SUFFIX}"):
        if older != library:
            older.unlink(missing_ok=True)
    return library


def _check_source(path: Path) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(len(MARK))
    except OSError as error:
        raise EdgeError(f"{path}: cannot be read ({error.strerror}): check the path") from None
    if start != MARK:
        raise EdgeError(
            f"{path}: these are no C sources of a model: make them by `kgated convert --target c`"
        )


def _compiler(name: str | None) -> str:
    names = (name,) if name else (*filter(None, (os.environ.get("CC"),)), *_COMPILERS)
    for candidate in names:
        if path := shutil.which(candidate):
            return path
    raise EdgeError(
        f"no C compiler here, looked for {', '.join(names)}: install one, such as gcc, or run the "
        'file with engine="litert"'
    )


def _compile(command: str, source: Path, library: Path) -> None:
    """Compiles for this CPU, by the first of the options that the compiler takes."""
    ends = [f'-DKGATED_HOST="{host()}"', str(source), "-o", str(library), "-lm"]
    for tuned in _TUNED:
        arguments = [command, *_FLAGS, *_FAST, *tuned, *ends]
        try:
            done = subprocess.run(arguments, capture_output=True, timeout=_SECONDS, text=True)
        except subprocess.TimeoutExpired:
            raise EdgeError(f"{source}: {command} takes longer than {_SECONDS:g} s") from None
        if done.returncode == 0:
            return
    reason = " ".join(done.stderr.split())[:500]
    raise EdgeError(f"{source}: {command} cannot compile it: {reason}")
