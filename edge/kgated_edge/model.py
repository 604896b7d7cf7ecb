"""Runs a streaming model frame by frame."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kgated_edge.binding import bind
from kgated_edge.blocks import alone, by_name, cut
from kgated_edge.errors import StateError
from kgated_edge.frames import step_writer
from kgated_edge.manifest import Manifest
from kgated_edge.quantized import reader
from kgated_edge.specs import Array, TensorSpec
from kgated_edge.tensors import copies

_ALL = slice(None)


class EdgeModel:
    """A streaming model with its state, one frame per call.

    Equation: (output_t, state_t) = step(frame_t, state_{t-1}), state_0 = 0.

    A model that takes `manifest.frames_per_step` = k > 1 frames at once (its layers stride over
    time) takes blocks (k, *frame) and gives one result for each. A model of several inputs takes a
    dict of arrays by name; one of several outputs gives a dict.

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

    __slots__ = ("__weakref__", "_binding", "_hot", "_interpreter", "_manifest", "_states")

    def __init__(self, path: str | Path, num_threads: int = 1) -> None:
        self._binding = found = bind(path, num_threads, "stream")
        self._manifest = manifest = found.manifest
        self._interpreter = found.interpreter
        names = [spec.name for spec in manifest.states]
        self._states = {name: found.inputs[name] for name in names}
        self._hot: tuple[Any, ...] = (
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
        return {name: view.copy() for name, view in self._states.items()}

    @state.setter
    def state(self, values: Mapping[str, Array]) -> None:
        self._check_external()
        self._check_state(values)
        for name, view in self._states.items():
            view[...] = values[name]

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
        """
        write, invoke, moves, read = self._hot
        write(frame)
        invoke()
        for target, source in moves:
            target[_ALL] = source
        return read()

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
        self._binding.reset_inside()
        for spec in self._manifest.states:
            self._states[spec.name].fill(spec.zero_point or 0)

    def cut(self, frames: Any) -> list[Any]:
        """What each call of `step` takes of a sequence; raises as `run`."""
        return cut(self._manifest.frames, self._manifest.frames_per_step, frames)

    def golden_outputs(self) -> dict[str, Array]:
        """What this device answers to the manifest's golden frames, by output name; resets."""
        self.reset()
        found = by_name(self._manifest.outputs, self.run(alone(self._manifest.golden.frames)))
        self.reset()
        return found

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
