"""Lists recordings, and matches them with the labels of their files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kgated_edge.errors import DataError
from kgated_edge.evaluation.event_matching import ReferenceEvent
from kgated_edge.recordings.labels import Labels, read_labels

SUFFIXES = (".csv", ".npy", ".npz", ".wav")


@dataclass(frozen=True)
class Recording:
    """A recording and its labelled events.

    Attributes:
        path: of the file.
        name: its path below the folder of recordings.
        events: its labelled events; empty where no event was labelled.
    """

    path: Path
    name: str
    events: Sequence[ReferenceEvent] = ()


def list_recordings(path: str | Path) -> list[Path]:
    """The recordings in a folder and its subfolders, sorted by name; or the one file.

    Raises:
        DataError: no such file or folder, or no recording in it.
    """
    root = Path(path)
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise DataError(f"{path}: no such file or folder of recordings: check the path")
    paths = sorted(
        file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file()
    )
    if not paths:
        raise DataError(f"{path}: there is no recording ({', '.join(SUFFIXES)}) in this folder")
    return paths


def labelled_recordings(path: str | Path, labels: str | Path | None) -> list[Recording]:
    """The recordings with their labels.

    Args:
        path: a folder or a file of recordings.
        labels: as in `read_labels`; files are named as below the folder. None: no events.

    Raises:
        DataError: as from `list_recordings` and `read_labels`; labels of a recording that does not
            exist, or labels without a file name and several recordings.
    """
    paths, root = list_recordings(path), Path(path)
    if labels is not None:
        # The labels may stand in the folder of the recordings.
        paths = [p for p in paths if p.resolve() != Path(labels).resolve()]
    base = root if root.is_dir() else root.parent
    names = [p.relative_to(base).as_posix() for p in paths]
    by_file = {} if labels is None else read_labels(labels)
    if "" in by_file:
        if len(paths) != 1:
            raise DataError(
                f"{labels}: a label track is for one recording, {path} has {len(paths)}: "
                "write a table with the columns file, start, end, label"
            )
        by_file = {names[0]: by_file[""]}
    return _with_labels(paths, names, by_file, labels)


def _with_labels(
    paths: Sequence[Path], names: Sequence[str], by_file: Labels, labels: str | Path | None
) -> list[Recording]:
    for file in by_file:
        if file not in names:
            raise DataError(
                f"{labels}: there is no recording {file!r}: name files as below the folder, "
                f"such as {names[0] if names else '-'!r}"
            )
    return [
        Recording(p, name, tuple(by_file.get(name, ())))
        for p, name in zip(paths, names, strict=True)
    ]
