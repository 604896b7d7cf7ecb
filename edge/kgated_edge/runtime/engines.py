"""The two engines that run a model file: LiteRT's interpreter, and a library of its C sources."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kgated_edge.errors import EdgeError
from kgated_edge.format.manifest import LENGTHS, Manifest
from kgated_edge.format.reader import read_model
from kgated_edge.format.tensor_spec import Array, TensorSpec
from kgated_edge.format.verified_file import ModelPath, VerifiedFile
from kgated_edge.native.library import Library, aligned, library_path
from kgated_edge.native.python_step import python_step
from kgated_edge.runtime.interpreter import Binding, bind, wrong_mode

ENGINES = LITERT, NATIVE = "litert", "native"
_SMALL_FILE = 512 * 1024
_SMALL_MEMORY = 64 * 1024


@dataclass(frozen=True)
class _Caller:
    """The library with the interface of the interpreter.

    Attributes:
        invoke: runs one step, or one sequence; returns 0, or the C sources' error.
        memory: the struct of states and working memory, which lives as long as this object.
    """

    invoke: Callable[[], object]
    memory: Array = field(repr=False)


@dataclass(frozen=True)
class NativeBinding(Binding):
    """A library ready to run, and its arrays; a state's input and output are the same array."""

    library: Library | None = None

    @property
    def engine(self) -> str:
        """The name of the engine."""
        return NATIVE

    @property
    def checks_numbers(self) -> bool:
        """Whether `invoke()` returns true, and does nothing, for NaN and inf in an input."""
        return True

    @property
    def of_library(self) -> Library:
        """The library."""
        if self.library is None:
            raise AssertionError("a binding without a library")
        return self.library

    def quick_step(self, idle: list[Any]) -> Callable[[Any], Any] | None:
        """A step in one call, for small models: a large one has to let other threads run."""
        inputs, outputs = self.manifest.blocks, self.manifest.answers
        if len(inputs) > 1 or len(outputs) > 1:
            return None
        memory = self.interpreter.memory
        arrays = memory, self.inputs[inputs[0].name], self.outputs[outputs[0].name]
        work = len(self.content) * self.manifest.frames_per_step * self.manifest.batch
        # A convolution uses its few weights at many places, which takes memory.
        if work > _SMALL_FILE or sum(array.nbytes for array in arrays) > _SMALL_MEMORY:
            return None
        return python_step(self.of_library.functions, *arrays, idle)

    def clone(self) -> "NativeBinding":
        """A second binding on the same library, with arrays of its own."""
        return _bind_library(self.of_library, self.content, self.manifest)


def check_engine(engine: object) -> None:
    """Raises `EdgeError` for another name than those of the engines."""
    if engine not in ENGINES:
        raise EdgeError(f'`engine` must be "{LITERT}" or "{NATIVE}", got {engine!r}')


def bind_engine(
    path: ModelPath, num_threads: int, mode: str, engine: str, keep_whole: bool = False
) -> Binding:
    """Opens a model file with an engine.

    Args:
        path: a `.tflite` file made by `kgated convert`.
        num_threads: threads of LiteRT; a library takes 1.
        mode: the mode that the caller runs; a file of another mode is refused.
        engine: "litert" or "native".
        keep_whole: whether LiteRT keeps the whole of a file with several signatures.

    Raises:
        ManifestError: the file cannot be run; the message says why and what to do.
        EdgeError: an unknown engine, a library that is missing or does not fit, or a library where
            a signature is required.
    """
    check_engine(engine)
    if engine == LITERT:
        return bind(path, num_threads, mode, keep_whole)
    if isinstance(path, VerifiedFile):
        raise EdgeError('engine="native" runs a library that no signature covers: use "litert"')
    if num_threads != 1:
        raise EdgeError(f'engine="native" runs in one thread, got num_threads={num_threads}')
    content, manifest = read_model(path)
    if manifest.mode != mode:
        raise wrong_mode(path, manifest.mode, mode)
    library = library_path(Path(path), manifest.file_sha256)
    opened = Library.open(library, manifest.file_sha256, len(manifest.carried))
    return _bind_library(opened, content, manifest)


def _bind_library(library: Library, content: bytes, manifest: Manifest) -> NativeBinding:
    memory = aligned(library.state_bytes)
    states = library.state_views(memory, manifest.carried)
    inputs = {spec.name: _array(spec) for spec in manifest.blocks}
    outputs = {spec.name: _array(spec) for spec in manifest.answers}
    if manifest.padded:
        lengths = np.full(manifest.batch, manifest.frames_per_step, np.int32)
        inputs[LENGTHS.name] = lengths if manifest.batch > 1 else lengths.reshape(())
    invoke = library.caller([memory, *inputs.values(), *outputs.values()])
    caller: Any = _Caller(invoke, memory)
    sides = inputs | states, outputs | states
    return NativeBinding(manifest, content, 1, caller, *sides, library=library)


def _array(spec: TensorSpec) -> Array:
    dtype = np.dtype(spec.dtype)
    return aligned(spec.size * dtype.itemsize).view(dtype).reshape(spec.shape)
