"""A file on disk for as long as it is tried."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def trial_file(content: bytes) -> Iterator[Path]:
    """A file of that content in a folder of its own, which is removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "trial.tflite")
        path.write_bytes(content)
        yield path
