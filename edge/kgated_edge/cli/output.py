"""Result files: reserved before the run, written whole or not at all."""

import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from kgated_edge.errors import EdgeError
from kgated_edge.loadtest.scheduler import Record

_ROWS_PER_CHUNK = 50_000


def _save_json(path: Path, result: dict[str, Any]) -> None:
    path.write_text(to_json(result), encoding="utf-8")


@contextmanager
def reserve_output(
    path: str | None,
    inputs: tuple[str, ...],
    save: Callable[[Path, Any], None] = _save_json,
    option: str = "--json",
) -> Iterator[Callable[[Any], None]]:
    """Makes sure, before a run, that its result can be written.

    It creates a temporary file beside the target, which is renamed to the target at the end. The
    temporary file is removed when the block ends, also by an exception.

    Args:
        path: the target; with None the yielded function does nothing.
        inputs: files that must not be the target.
        save: writes a result to a path.
        option: of the command line, for the message.

    Yields:
        a function that writes the result.

    Raises:
        EdgeError: the target cannot be written, is not a plain file, or is one of the inputs.
    """
    if path is None:
        yield lambda result: None
        return
    target = _target(path, inputs, option)
    scratch = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        # Inside, so that an error after its creation removes it.
        with _writable(path):
            scratch.touch(exist_ok=False)
        yield lambda result: _write(path, scratch, target, lambda: save(scratch, result))
    finally:
        with suppress(FileNotFoundError, NotADirectoryError):
            scratch.unlink()


def to_json(result: dict[str, Any]) -> str:
    """Indented JSON; NaN and inf, which JSON lacks, become null."""
    return json.dumps(finite(result), indent=2, allow_nan=False) + "\n"


def save_steps(path: Path, record: Record) -> None:
    """Writes a line of CSV per step that ended: arrival in s, the rest in µs."""
    period_s = record.schedule.period_ns / 1e9
    with path.open("w", encoding="utf-8") as file:
        file.write("arrival_s,start_delay_us,compute_us,completion_us\n")
        for start in range(0, record.done, _ROWS_PER_CHUNK):
            part = slice(start, min(start + _ROWS_PER_CHUNK, record.done))
            arrivals = np.arange(part.start, part.stop) * period_s
            delay, compute = record.start_delay_ns[part] / 1e3, record.compute_ns[part] / 1e3
            rows = np.stack([arrivals, delay, compute, delay + compute], 1)
            np.savetxt(file, rows, ("%.6f", "%.3f", "%.3f", "%.3f"), ",")


def _write(path: str, scratch: Path, target: Path, save: Callable[[], None]) -> None:
    with _writable(path):
        save()
        scratch.replace(target)


def _target(path: str, inputs: tuple[str, ...], option: str) -> Path:
    with _writable(path):
        target = Path(path).resolve()
        if any(Path(name).exists() and target == Path(name).resolve() for name in inputs):
            raise EdgeError(f"{path}: this is an input of the run: name another file for {option}")
        if target.exists() and not (target.is_file() and os.access(target, os.W_OK)):
            raise EdgeError(f"{path}: cannot be overwritten: name another file for {option}")
    return target


@contextmanager
def _writable(path: str) -> Iterator[None]:
    try:
        yield
    except EdgeError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise EdgeError(
            f"{path}: cannot be written ({reason}): name a file in a folder that exists "
            "and can be written"
        ) from None


def finite(value: Any) -> Any:
    """The value with None in place of NaN and inf, which JSON lacks."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
