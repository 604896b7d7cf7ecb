"""The two source files beside a `.tflite` file."""

from pathlib import Path

from kgated.deploy.mcu.source import MARK, Sources
from kgated.files import replace_file


def source_paths(path: Path) -> tuple[Path, Path]:
    """NAME.h and NAME.cc beside NAME.tflite."""
    return path.with_suffix(".h"), path.with_suffix(".cc")


def check_source_paths(path: Path) -> None:
    """Refuse to write over sources that are somebody else's.

    Raises:
        FileExistsError: one of them is there, and was not made here.
    """
    for one in source_paths(path):
        if one.exists() and not one.read_bytes().startswith(MARK.encode()):
            raise FileExistsError(
                f"can't write {one}: it is no file of kgated; name another output"
            )


def write_sources(path: Path, made: Sources) -> None:
    """Write both, each whole, in place of older ones."""
    for one, text in zip(source_paths(path), (made.header, made.source), strict=True):
        replace_file(one, text.encode())
