"""Compiles the C sources of a model into a shared library in the same folder."""

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from kgated_edge.errors import EdgeError
from kgated_edge.format.reader import read_manifest
from kgated_edge.native.library import MARK, SUFFIX, Library, host, library_path
from kgated_edge.native.seal import seal

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
        compiler: its name or path, also with options, such as "ccache gcc"; None: the environment's
            CC, or cc, gcc or clang.

    Returns:
        the library's path.

    Raises:
        EdgeError: no compiler, no such sources, sources of another file, or a failing self-test.
            A library that was there before stays then.
    """
    path, command = Path(source), _compiler(compiler)
    text = _read_source(path)
    model = path.with_suffix(".tflite")
    digest = read_manifest(model).file_sha256
    _check_digest(path, text, model, digest)
    library = library_path(model, digest)
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}.") as folder:
            scratch = Path(folder) / library.name
            _compile(command, path, scratch)
            _check_library(scratch, path, command, digest)
            scratch.replace(library)
    except OSError as error:
        raise EdgeError(
            f"{library}: cannot be written ({error.strerror}): copy {path.name}, its .h and its "
            ".tflite to a folder where you may write"
        ) from None
    _remove_older(library, path)
    return library


def _read_source(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EdgeError(f"{path}: cannot be read ({error.strerror}): check the path") from None
    if path.suffix != ".c" or not content.startswith(MARK):
        raise EdgeError(
            f"{path}: these are no C sources of a model: make them by `kgated convert --target c`"
        )
    return content


def _check_digest(path: Path, text: bytes, model: Path, digest: str) -> None:
    """Refuse sources that belong to another model file."""
    if f'kgated_digest[] = "{digest}"'.encode() not in text:
        raise EdgeError(
            f"{path}: made for another file than {model.name}: convert the model again by `kgated "
            "convert --target c`, which writes both"
        )


def _check_library(library: Path, source: Path, command: list[str], digest: str) -> None:
    """Seal a new library and test it."""
    name = " ".join(command)
    if not library.is_file():
        raise EdgeError(f"{source}: {name} ended without an error and made no library")
    seal(library)
    try:
        Library.open(library, digest)
    except EdgeError as error:
        reason = str(error).removeprefix(f"{library}: ").rpartition(": ")[0]
        raise EdgeError(
            f"{source}: the library that {name} made of it fails: {reason}: take another compiler, "
            "or report the compiler and the model"
        ) from None


def _remove_older(library: Path, source: Path) -> None:
    """Remove the libraries of earlier sources of this name, and of no longer name."""
    name = re.compile(rf"{re.escape(source.stem)}\.[0-9a-f]{{12}}{re.escape(SUFFIX)}")
    for older in source.parent.iterdir():
        if name.fullmatch(older.name) and older != library and not _has_own_model(older):
            older.unlink(missing_ok=True)


def _has_own_model(library: Path) -> bool:
    """Whether it is that of a model whose name ends like a digest."""
    return library.with_name(library.name.removesuffix(SUFFIX) + ".tflite").exists()


def _compiler(name: str | None) -> list[str]:
    """The command of the compiler; one that the caller or CC names is not replaced by another."""
    named = (name or os.environ.get("CC", "")).strip()
    candidates = [[named], _words(named)] if named else [[each] for each in _COMPILERS]
    for command, *options in candidates:
        if path := shutil.which(command):
            return [path, *options]
    looked_for = named or ", ".join(_COMPILERS)
    raise EdgeError(
        f"no C compiler here, looked for {looked_for}: install one, such as gcc, or run the file "
        'with engine="litert"'
    )


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command) or [command]
    except ValueError:  # a quote that does not end
        return [command]


def _compile(command: list[str], source: Path, library: Path) -> None:
    """Compiles for this CPU, by the first of the options that the compiler takes."""
    ends = [f'-DKGATED_HOST="{host()}"', str(source.absolute()), "-o", str(library.absolute())]
    name, reason = " ".join(command), ""
    for tuned in _TUNED:
        arguments = [*command, *_FLAGS, *_FAST, *tuned, *ends, "-lm"]
        try:
            process = subprocess.run(
                arguments, capture_output=True, timeout=_SECONDS, text=True, errors="replace"
            )
        except subprocess.TimeoutExpired:
            raise EdgeError(f"{source}: {name} takes longer than {_SECONDS:g} s") from None
        except OSError as error:
            raise EdgeError(
                f"{name}: cannot be run ({error.strerror}): name a C compiler"
            ) from None
        if process.returncode == 0:
            return
        reason = " ".join(process.stderr.split())[:500] or f"it ends with {process.returncode}"
    raise EdgeError(f"{source}: {name} cannot compile it: {reason}")
