"""The two source files beside a `.tflite` file."""

from pathlib import Path

from kgated.deploy.tflm.codegen import MARK, Sources


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


def source_files(path: Path, made: Sources) -> dict[Path, bytes]:
    """What goes into which of the two."""
    texts = made.header.encode(), made.source.encode()
    return dict(zip(source_paths(path), texts, strict=True))
