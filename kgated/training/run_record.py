"""The options of the training in a folder, so that no other training overwrites it."""

import json
import zlib
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from kgated_edge.evaluation.dataset import SequenceData

from kgated.atomic_write import replace_file

NAME = "options.json"
BACKUPS = "backup-*.npz"
HINT = "name another folder, or delete this one"


def check_folder(folder: str | Path | None, options: Mapping[str, Any]) -> None:
    """Refuse a folder that holds a training with other options.

    Args:
        folder: of `train_classifier`; None: there is nothing to overwrite.
        options: those to compare, by name.

    Raises:
        ValueError: one line: the difference, and the remedies.
    """
    if folder is None or not (Path(folder) / "log.csv").is_file():
        return
    path = Path(folder) / NAME
    finished = not list(Path(folder).glob(BACKUPS))
    if not path.is_file():
        if finished:
            raise ValueError(f"{folder} holds a finished training with options unknown: {HINT}")
        return
    before = json.loads(path.read_text())
    changes = [
        f"{name} {before[name]} became {value}"
        for name, value in options.items()
        if name in before and before[name] != value
    ]
    if changes:
        state = "a finished" if finished else "an unfinished"
        raise ValueError(
            f"{folder} holds {state} training with other options ({', '.join(changes)}): {HINT}"
        )


def write(folder: str | Path, options: Mapping[str, Any]) -> None:
    """Write the options to the folder, which is created if it is missing."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    replace_file(Path(folder) / NAME, json.dumps(dict(options), indent=2).encode() + b"\n")


def digest(data: SequenceData) -> str:
    """A short name of a data set's content."""
    value = 0
    rows = [data.x] if isinstance(data.x, np.ndarray) else map(data.sequence, range(len(data)))
    for array in chain(rows, [data.lengths, data.y]):
        if array is not None:
            value = zlib.crc32(np.ascontiguousarray(array).data, value)
    return f"{value:08x}"
