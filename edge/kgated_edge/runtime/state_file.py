"""Saves states of a streaming model to an `.npz` without pickle, tied to one model file."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kgated_edge.errors import StateError
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.tensor_spec import Array
from kgated_edge.runtime.state_checks import are_finite

_DIGEST = "model_sha256"
_PREFIX = "state."


class Stateful(ABC):
    """Something with the states of a model file, which it can save and load."""

    __slots__ = ("_manifest",)
    _manifest: Manifest

    @property
    def manifest(self) -> Manifest:
        """The manifest in the file."""
        return self._manifest

    @property
    @abstractmethod
    def state(self) -> dict[str, Array]:
        """A copy of each state by name; can be assigned."""

    @state.setter
    @abstractmethod
    def state(self, values: Mapping[str, Array]) -> None: ...

    @property
    def has_finite_state(self) -> bool:
        """Whether no state holds NaN or inf; takes some microseconds.

        A frame of finite but huge numbers, from about 1e30, can make the state NaN. Every later
        result is NaN then, until `reset`. States of integers are always finite.

        Raises:
            StateError: the state is internal: look at the results instead.
        """
        return are_finite(self.state.values())

    def save_state(self, path: str | Path) -> None:
        """Writes the states and the model file's digest to a file; whole or not at all.

        Raises:
            StateError: the file cannot be written, or the model's state is internal, or holds NaN
                or inf.
        """
        state = self.state
        if not are_finite(state.values()):
            raise StateError("the state holds NaN or inf, which no model takes: call reset() first")
        write_state(path, self.manifest.file_sha256, state)

    def load_state(self, path: str | Path) -> None:
        """Loads states that `save_state` wrote, in this process or on another device.

        Raises:
            StateError: no such file, damaged, or of another model file; nothing has changed.
        """
        check_external(self.manifest)
        self.state = read_state(path, self.manifest.file_sha256)


def check_external(manifest: Manifest) -> None:
    """Raises `StateError` for a file with internal state."""
    if manifest.state == "internal":
        raise StateError(
            "this file keeps its state inside the interpreter, where it cannot be read or set: "
            'convert the model with state="external"'
        )


def write_state(path: str | Path, digest: str, states: Mapping[str, Array]) -> None:
    """Writes states, whole or not at all.

    Args:
        path: the file, replaced where it exists.
        digest: `file_sha256` of the model file.
        states: by name.

    Raises:
        StateError: the file cannot be written.
    """
    write_arrays(path, digest, {_PREFIX + name: array for name, array in states.items()})


def write_arrays(path: str | Path, digest: str, arrays: Mapping[str, Array]) -> None:
    """As `write_state`, with the full names of the arrays, "state.NAME" for a state."""
    content: dict[str, Any] = {**arrays, _DIGEST: np.array(digest)}
    try:
        target = Path(path)
        scratch = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            with scratch.open("xb") as file:
                np.savez(file, **content)
            scratch.replace(target)
        finally:
            scratch.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StateError(
            f"{path}: cannot be written ({reason}): name a file in a folder that exists and can "
            "be written"
        ) from None


def read_state(path: str | Path, digest: str) -> dict[str, Array]:
    """Reads states of the model file with this digest; their shapes are not checked here.

    Raises:
        StateError: no such file, not an intact state file, or of another model file.
    """
    arrays = read_arrays(path, digest).items()
    return {n.removeprefix(_PREFIX): array for n, array in arrays if n.startswith(_PREFIX)}


def read_arrays(path: str | Path, digest: str) -> dict[str, Array]:
    """As `read_state`, all arrays with their full names."""
    try:
        with Path(path).open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            arrays = {name: np.asarray(archive[name]) for name in archive.files}
            saved_digest = str(arrays.pop(_DIGEST))
    except FileNotFoundError:
        raise StateError(f"{path}: no such file: check the path") from None
    except (IsADirectoryError, PermissionError) as error:
        raise StateError(f"{path}: cannot be read ({error.strerror}): check the path") from None
    # NumPy and zipfile raise a dozen kinds of exception on damaged bytes.
    except Exception as error:
        raise StateError(
            f"{path}: this is not an intact state file ({type(error).__name__}): copy it again, or "
            "write it with save_state()"
        ) from None
    if saved_digest != digest:
        raise StateError(
            f"{path}: the state is of the model file with digest {saved_digest[:12]}, this is "
            f"{digest[:12]}: load it into the model that saved it"
        )
    return arrays
