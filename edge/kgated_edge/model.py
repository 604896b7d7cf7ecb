"""Runs a streaming model frame by frame."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from kgated_edge.binding import Binding, bind
from kgated_edge.blocks import alone, by_name, cut
from kgated_edge.errors import EdgeError, StateError
from kgated_edge.frames import step_writer
from kgated_edge.manifest import Manifest
from kgated_edge.quantized import reader
from kgated_edge.specs import Array, TensorSpec
from kgated_edge.statefile import read_state, write_state
from kgated_edge.tensors import copies

_ALL = slice(None)


class EdgeModel:
    """A streaming model with its state, one frame per call.

    Equation: (output_t, state_t) = step(frame_t, state_{t-1}), state_0 = 0.

    A model that takes `manifest.frames_per_step` = k > 1 frames at once (its layers stride over
    time) takes blocks (k, *frame) and gives one result for each. A model of several inputs takes a
    dict of arrays by name; one of several outputs gives a dict.

    One model is for one thread at a time: a call while another thread is inside raises `EdgeError`.

    Args:
        path: a `.tflite` file made by `kgated convert`.
        num_threads: threads of the interpreter, at least 1.

    Raises:
        ManifestError: the file cannot be run; the message says why and what to do.

    Example:
        >>> model = EdgeModel("speaker.tflite")
        >>> for frame in sequence:          # each (12,) float32
        ...     output = model.step(frame)  # (9,) float32
        >>> model.reset()
    """

    __slots__ = ("__weakref__", "_binding", "_hot", "_interpreter", "_lock", "_manifest", "_states")

    def __init__(self, path: str | Path, num_threads: int = 1) -> None:
        self._take(bind(path, num_threads, "stream"))

    def _take(self, found: Binding) -> None:
        self._binding, self._lock = found, Lock()
        self._manifest = manifest = found.manifest
        self._interpreter = found.interpreter
        names = [spec.name for spec in manifest.states]
        self._states = {name: found.inputs[name] for name in names}
        self._hot: tuple[Any, ...] = (
            self._lock.acquire,
            self._lock.release,
            step_writer(manifest.blocks, found.inputs),
            self._interpreter.invoke,
            copies([(found.inputs[name], found.outputs[name]) for name in names]),
            _reader([found.outputs[spec.name] for spec in manifest.outputs], manifest.outputs),
        )
        self.reset()

    @property
    def manifest(self) -> Manifest:
        """What the file says about itself."""
        return self._manifest

    @property
    def state(self) -> dict[str, Array]:
        """A copy of each state tensor by name, without the batch axis, as it is stored.

        Can be assigned: all names, each an array of the right shape and dtype, all finite.
        Otherwise `StateError` is raised, and nothing has changed. A file converted with
        state="internal" keeps its state to itself: `StateError`.
        """
        self._check_external()
        with self._alone():
            return {name: view.copy() for name, view in self._states.items()}

    @state.setter
    def state(self, values: Mapping[str, Array]) -> None:
        self._check_external()
        self._check_state(values)
        with self._alone():
            for name, view in self._states.items():
                view[...] = values[name]

    def save_state(self, path: str | Path) -> None:
        """Writes the states to a file, with the model file's digest; whole or not at all.

        Raises:
            StateError: the file cannot be written, or the state is inside the model file.
        """
        write_state(path, self._manifest.file_sha256, self.state)

    def load_state(self, path: str | Path) -> None:
        """Takes the states that `save_state` wrote, in this process or on another device.

        Raises:
            StateError: no such file, damaged, or of another model file; nothing has changed.
        """
        self._check_external()
        self.state = read_state(path, self._manifest.file_sha256)

    def clone(self) -> "EdgeModel":
        """A second model on the same loaded bytes, with an interpreter and a state of its own.

        The state starts from zero.
        """
        model = object.__new__(type(self))
        model._take(self._binding.twin())
        return model

    def step(self, frame: Any) -> Any:
        """Takes one frame, or one block of frames, moves the state on, and returns the result.

        Args:
            frame: array of shape `manifest.frame.shape` and its dtype; for a token model an int.
                A quantized model takes float32 and rounds it, or integers that are its own already.
                With k frames per step (k, *manifest.frame.shape); with several inputs a dict.

        Returns:
            a new array of shape `manifest.output.shape`, float32; a dict where there are several.

        Raises:
            FrameError: wrong shape or dtype, NaN or inf, or a token outside the vocabulary. The
                state is as before the call.
            EdgeError: another thread is inside this model; nothing has changed.
        """
        acquire, release, write, invoke, moves, read = self._hot
        # Spelled out, not `with`: this costs 0.1 µs, a context manager of our own ten times that.
        if not acquire(False):
            raise _busy()
        try:
            write(frame)
            invoke()
            for target, source in moves:
                target[_ALL] = source
            return read()
        finally:
            release()

    def run(self, frames: Any) -> Any:
        """Takes a sequence of frames, from the present state on.

        Args:
            frames: (T, *manifest.frame.shape), of the frame's dtype; a dict of such arrays where
                there are several inputs. With k frames per step, the last T mod k are not used.

        Returns:
            (T // k, *manifest.output.shape), float32; a dict of such where there are several.

        Raises:
            FrameError: a frame is bad; none has been run.
        """
        steps, outputs = self.cut(frames), self._manifest.outputs
        found = {o.name: np.empty((len(steps), *o.shape), o.real.dtype) for o in outputs}
        for n, block in enumerate(steps):
            result = self.step(block)
            for name, results in found.items():
                results[n] = result if len(outputs) == 1 else result[name]
        return alone(found)

    def reset(self) -> None:
        """Sets all states to zero, as at the start of a sequence."""
        with self._alone():
            self._binding.reset_inside()
            for spec in self._manifest.states:
                self._states[spec.name].fill(spec.zero_point or 0)

    def cut(self, frames: Any) -> list[Any]:
        """What each call of `step` takes of a sequence; raises as `run`."""
        return cut(self._manifest.frames, self._manifest.frames_per_step, frames)

    def golden_outputs(self) -> dict[str, Array]:
        """What this device answers to the manifest's golden frames, by output name; resets."""
        golden = self._manifest.golden
        self.reset()
        found = by_name(self._manifest.outputs, self.run(alone(golden.frames)))
        self.reset()
        return {name: results[-len(golden.outputs[name]) :] for name, results in found.items()}

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._lock.acquire(blocking=False):
            raise _busy()
        try:
            yield
        finally:
            self._lock.release()

    def _check_external(self) -> None:
        if self._manifest.state == "internal":
            raise StateError(
                "this file keeps its state inside, where nobody can read or set it: convert the "
                'model with state="external"'
            )

    def _check_state(self, values: Mapping[str, Array]) -> None:
        if set(values) != set(self._states):
            raise StateError(
                f"`state` must hold {sorted(self._states)}, got {sorted(values)}: "
                "assign what `model.state` of the same file returned"
            )
        for spec in self._manifest.states:
            _check_state_array(spec, values[spec.name])


def _busy() -> EdgeError:
    return EdgeError("another thread is inside this model: give each its own, by model.clone()")


def _reader(views: Sequence[Array], specs: Sequence[TensorSpec]) -> Callable[[], Any]:
    """Copies the result out of the output tensors."""
    pairs = [(spec.name, reader(spec, view)) for spec, view in zip(specs, views, strict=True)]
    if len(pairs) == 1:
        return pairs[0][1]
    return lambda: {name: read() for name, read in pairs}


def _check_state_array(spec: TensorSpec, value: Any) -> None:
    if not isinstance(value, np.ndarray) or value.shape != spec.shape or value.dtype != spec.dtype:
        got = f"{value.shape} {value.dtype}" if isinstance(value, np.ndarray) else type(value)
        raise StateError(
            f"state `{spec.name}` must be an array of shape {spec.shape} and dtype {spec.dtype}, "
            f"got {got}: assign what `model.state` of the same file returned"
        )
    if not np.isfinite(value).all():
        raise StateError(f"state `{spec.name}` must be finite, got NaN or inf: call reset()")
