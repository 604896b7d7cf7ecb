"""Results as JSON: claimed before the run, written whole or not at all."""

import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kgated_edge.errors import EdgeError


@contextmanager
def claimed(
    path: str | None, inputs: tuple[str, ...]
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Makes sure that a result can be written, before the work that leads to it.

    A temporary file stands beside the target from the start, and is renamed over it at the end. It
    is gone when the block is left, however it is left.

    Args:
        path: the target; with None the function given does nothing.
        inputs: files that must not be the target.

    Yields:
        a function that writes the result.

    Raises:
        EdgeError: the target cannot be written, is no plain file, or is one of the inputs.
    """
    if path is None:
        yield lambda result: None
        return
    target = _target(path, inputs)
    scratch = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    with _writable(path):
        scratch.touch(exist_ok=False)
    try:
        yield lambda result: _write(path, scratch, target, result)
    finally:
        scratch.unlink(missing_ok=True)


def to_json(result: dict[str, Any]) -> str:
    """JSON text, indented; numbers that are not finite become null, which JSON does not know."""
    return json.dumps(finite(result), indent=2, allow_nan=False) + "\n"


def _write(path: str, scratch: Path, target: Path, result: dict[str, Any]) -> None:
    with _writable(path):
        scratch.write_text(to_json(result), encoding="utf-8")
        scratch.replace(target)


def _target(path: str, inputs: tuple[str, ...]) -> Path:
    with _writable(path):
        target = Path(path).resolve()
        if any(Path(one).exists() and target == Path(one).resolve() for one in inputs):
            raise EdgeError(f"{path}: this is an input of the run: name another file for --json")
        if target.exists() and not (target.is_file() and os.access(target, os.W_OK)):
            raise EdgeError(f"{path}: cannot be written over: name another file for --json")
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
    """The value with null in the place of numbers that are not finite, which JSON does not know."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
