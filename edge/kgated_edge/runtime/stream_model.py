"""Runs a streaming model frame by frame."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from kgated_edge.errors import EdgeError, StateError, cannot_run
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.tensor_spec import Array, TensorSpec
from kgated_edge.runtime.bad_frames import HOLD, REFUSE, Hold, check_policy
from kgated_edge.runtime.batching import alone, by_name, cut, for_rows, last
from kgated_edge.runtime.input_writer import step_writer
from kgated_edge.runtime.interpreter import Binding, bind
from kgated_edge.runtime.quantization import results_reader
from kgated_edge.runtime.state_file import Stateful, check_external
from kgated_edge.runtime.tensor_views import copies

_ALL = slice(None)


class EdgeModel(Stateful):
    """A streaming model with its state, one frame per call.

    Equation: (output_t, state_t) = step(frame_t, state_{t-1}), state_0 = 0.

    A model that takes `manifest.frames_per_step` = k > 1 frames at once (its layers stride over
    time) takes blocks (k, *frame) and gives one result for each. A model of several inputs takes a
    dict of arrays by name; one of several outputs gives a dict. A file of `manifest.batch` = B > 1
    runs B streams side by side: B is then the first axis of frames, results and states.

    One model is for one thread at a time: a call while another thread is inside raises `EdgeError`.

    Args:
        path: a `.tflite` file made by `kgated convert`.
        num_threads: threads of the interpreter, at least 1.
        on_bad_frame: what becomes of a frame with NaN or inf: "refuse" raises `FrameError`, "hold"
            takes the last good one in its place and counts it in `held_frames`; where none has come
            since the last reset, it is refused.

    Raises:
        ManifestError: the file cannot be run; the message says why and what to do.

    Example:
        >>> model = EdgeModel("speaker.tflite")
        >>> for frame in sequence:          # each (12,) float32
        ...     output = model.step(frame)  # (9,) float32
        >>> model.reset()
    """

    __slots__ = ("__weakref__", "_binding", "_hold", "_idle", "_interpreter", "_states")

    def __init__(
        self, path: str | Path, num_threads: int = 1, *, on_bad_frame: str = REFUSE
    ) -> None:
        check_policy(on_bad_frame)
        self._take(bind(path, num_threads, "stream"), on_bad_frame)

    def _take(self, found: Binding, on_bad_frame: str) -> None:
        if on_bad_frame == HOLD and found.manifest.batch > 1:
            raise EdgeError('on_bad_frame="hold" is for files of batch 1: convert one for it')
        self._binding = found
        self._hold = Hold() if on_bad_frame == HOLD else None
        self._manifest: Manifest = found.manifest
        manifest = found.manifest
        self._interpreter = found.interpreter
        names = [spec.name for spec in manifest.states]
        self._states = {name: found.inputs[name] for name in names}
        # What a step needs, while no thread is inside: to take it out is one indivisible act, at
        # half of a lock's price.
        self._idle: list[tuple[Any, ...]] = [
            (
                step_writer(manifest.blocks, found.inputs, self._hold, manifest.frames),
                self._interpreter.invoke,
                copies([(found.inputs[name], found.outputs[name]) for name in names]),
                results_reader(manifest.answers, found.outputs),
            )
        ]
        self.reset()

    @property
    def held_frames(self) -> int:
        """Frames with NaN or inf that were replaced, in all, with on_bad_frame="hold"."""
        return self._hold.count if self._hold else 0

    @property
    def state(self) -> dict[str, Array]:
        """A copy of each state tensor by name, without a batch axis of 1, as it is stored.

        Can be assigned: all names, each an array of the right shape and dtype, all finite.
        Otherwise `StateError` is raised, and nothing has changed. A file converted with
        state="internal" keeps its state to itself: `StateError`.
        """
        check_external(self._manifest)
        with alone_in(self._idle, "model"):
            return {name: view.copy() for name, view in self._states.items()}

    @state.setter
    def state(self, values: Mapping[str, Array]) -> None:
        check_external(self._manifest)
        check_states(self._manifest.carried, values)
        with alone_in(self._idle, "model"):
            for name, view in self._states.items():
                view[...] = values[name]

    def clone(self) -> "EdgeModel":
        """A second model on the same loaded bytes, with an interpreter and a state of its own.

        The state starts from zero.
        """
        model = object.__new__(type(self))
        model._take(self._binding.twin(), HOLD if self._hold else REFUSE)
        return model

    def step(self, frame: Any) -> Any:
        """Takes one frame, or one block of frames, moves the state on, and returns the result.

        Args:
            frame: array of shape `manifest.frame.shape` and its dtype; for a token model an int.
                A quantized model takes float32 and rounds it, or integers that are its own already.
                With k frames per step (k, *manifest.frame.shape), with a batch (B, ...) of these;
                with several inputs a dict.

        Returns:
            a new array of shape `manifest.output.shape`, float32, with a batch (B, ...); a dict
            where there are several.

        Raises:
            FrameError: wrong shape or dtype, NaN or inf, or a token outside the vocabulary. The
                state is as before the call.
            EdgeError: another thread is inside this model, or the interpreter fails at it; the
                state is as before the call.
        """
        idle = self._idle
        # Spelled out, not `with alone_in()`: that costs twenty times as much.
        try:
            hot = idle.pop()
        except IndexError:
            raise busy("model") from None
        try:
            write, invoke, moves, read = hot
            write(frame)
            invoke()
            for target, source in moves:
                target[_ALL] = source
            return read()
        except RuntimeError as error:
            raise cannot_run(error) from None
        finally:
            idle.append(hot)

    def run(self, frames: Any) -> Any:
        """Takes a sequence of frames, from the present state on.

        Args:
            frames: (T, *manifest.frame.shape), of the frame's dtype; a dict of such arrays where
                there are several inputs. With k frames per step, the last T mod k are not used.
                With a batch (B, T, ...).

        Returns:
            (T // k, *manifest.output.shape), float32, with a batch (B, T // k, ...); a dict of
            such where there are several.

        Raises:
            FrameError: a frame is bad; none has been run.
        """
        steps, outputs = self.cut(frames), self._manifest.answers
        found = {o.name: np.empty((len(steps), *o.shape), o.real.dtype) for o in outputs}
        for n, block in enumerate(steps):
            result = self.step(block)
            for name, results in found.items():
                results[n] = result if len(outputs) == 1 else result[name]
        if self._manifest.batch > 1:
            found = {name: np.moveaxis(results, 0, 1) for name, results in found.items()}
        return alone(found)

    def reset(self) -> None:
        """Sets all states to zero, as at the start of a sequence."""
        with alone_in(self._idle, "model"):
            self._binding.reset_inside()
            if self._hold:
                self._hold.forget()
            for spec in self._manifest.states:
                self._states[spec.name].fill(spec.zero_point or 0)

    def cut(self, frames: Any) -> list[Any]:
        """What each call of `step` takes of a sequence; raises as `run`."""
        manifest = self._manifest
        size, batch = manifest.frames_per_step, manifest.batch
        return cut(manifest.frames, size, frames, batch, finite=self._hold is None)

    def golden_outputs(self) -> dict[str, Array]:
        """What this device answers to the golden frames, in every row of a batch; resets."""
        manifest, wanted = self._manifest, self._manifest.golden.outputs.items()
        self.reset()
        frames = for_rows(manifest.golden.frames, manifest.batch)
        found = by_name(manifest.outputs, self.run(alone(frames)))
        self.reset()
        return {name: last(found[name], len(golden), manifest.batch) for name, golden in wanted}


@contextmanager
def alone_in(idle: list[tuple[Any, ...]], what: str) -> Iterator[tuple[Any, ...]]:
    """Takes out what only one thread at a time may have; `EdgeError` where another has it."""
    try:
        hot = idle.pop()
    except IndexError:
        raise busy(what) from None
    try:
        yield hot
    finally:
        idle.append(hot)


def check_states(specs: Sequence[TensorSpec], values: Mapping[str, Array]) -> None:
    """Raises `StateError` unless there is a fitting array for each state, and nothing else."""
    names = sorted(spec.name for spec in specs)
    if set(values) != set(names):
        raise StateError(
            f"`state` must hold {names}, got {sorted(values)}: "
            "assign what `state` of the same file returned"
        )
    for spec in specs:
        _check_state_array(spec, values[spec.name])


def busy(what: str) -> EdgeError:
    """The error of a thread that meets another."""
    return EdgeError(f"another thread is inside this {what}: give each its own, by {what}.clone()")


def _check_state_array(spec: TensorSpec, value: Any) -> None:
    if not isinstance(value, np.ndarray) or value.shape != spec.shape or value.dtype != spec.dtype:
        got = f"{value.shape} {value.dtype}" if isinstance(value, np.ndarray) else type(value)
        raise StateError(
            f"state `{spec.name}` must be an array of shape {spec.shape} and dtype {spec.dtype}, "
            f"got {got}: assign what `model.state` of the same file returned"
        )
    if not np.isfinite(value).all():
        raise StateError(f"state `{spec.name}` must be finite, got NaN or inf: call reset()")
