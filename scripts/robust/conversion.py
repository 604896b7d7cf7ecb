"""The part of `kgated convert` that writes: the command with the computed result recorded.

TensorFlow does not run in a forked process. So the conversions are computed once, before the
faults; in the forked process the command parses its options, writes the recorded files and the
report, and says how it went.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from kgated.atomic_write import replace_files

TARGETS = {"c": ("none", ".h", ".c"), "mcu": ("int8", ".h", ".cc")}
"""By target the recipe, and the suffixes of the sources beside the `.tflite` file."""


@dataclass(frozen=True)
class Recording:
    """A finished conversion: the model, what was returned, and the files in their order."""

    model: Any
    conversion: Any
    files: Mapping[Path, bytes]

    def load_and_convert(self, *_: object) -> tuple[Any, Any]:
        """In place of the command's own function: the same writes, without the computation."""
        replace_files(self.files)
        return self.model, self.conversion


def prepared(inputs: Path, outputs: Path) -> Callable[[], int]:
    """The command for C sources, then for a microcontroller with a report.

    Older files lie in `inputs`/before, those of the conversions in `inputs`/after.
    """
    _save_model(inputs / "model.keras")
    data = inputs / "calibration.npz"
    np.savez(data, x=np.random.default_rng(5).normal(size=(4, 6, 3)).astype(np.float32))
    commands = []
    for target, (quantize, *suffixes) in TARGETS.items():
        paths = [outputs / f"{target}{suffix}" for suffix in (".tflite", *suffixes)]
        words = ["convert", str(inputs / "model.keras"), str(paths[0]), "--target", target]
        words += ["--quantize", quantize, "--calibration", str(data)]
        if target == "mcu":
            words += ["--json", str(outputs / "result.json")]
        recording = _record(words, paths)
        _keep(recording, inputs / "after", b"")
        _keep(recording, inputs / "before", b"\n")
        commands.append((words, recording))
    # The first that fails ends it.
    return lambda: next((code for item in commands if (code := _run(*item))), 0)


def _save_model(path: Path) -> None:
    import keras

    import kgated

    keras.utils.set_random_seed(0)
    layers = [kgated.GRU(4, return_sequences=True), keras.layers.Dense(2)]
    keras.Sequential([keras.Input((None, 3)), *layers]).save(path)


def _record(words: list[str], paths: list[Path]) -> Recording:
    """Run the command once, and keep what it computed."""
    import kgated_cli.convert as command

    results, compute = [], command._load_and_convert

    def recorded(*arguments: Any) -> tuple[Any, Any]:
        results.append(compute(*arguments))
        return results[-1]

    with mock.patch.object(command, "_load_and_convert", recorded):
        assert _main(words) == 0
    return Recording(*results[0], {path: path.read_bytes() for path in paths})


def _keep(recording: Recording, folder: Path, ending: bytes) -> None:
    folder.mkdir(exist_ok=True)
    for path, content in recording.files.items():
        (folder / path.name).write_bytes(content + ending)


def _run(words: list[str], recording: Recording) -> int:
    import kgated_cli.convert as command

    with mock.patch.object(command, "_load_and_convert", recording.load_and_convert):
        return _main(words)


def _main(words: list[str]) -> int:
    """The exit code of `kgated` with these arguments."""
    from kgated_cli.app import main

    try:
        main(words)
    except SystemExit as error:
        return int(error.code or 0)
