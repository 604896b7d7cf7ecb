"""Thousands of sessions on one interpreter, whose states are copied in and out."""

import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kgated_edge.errors import EdgeError, FrameError, cannot_run
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.tensor_spec import Array, TensorSpec
from kgated_edge.runtime.batching import as_dict, unwrap_single
from kgated_edge.runtime.input_writer import Writer, check_frames, step_writer
from kgated_edge.runtime.interpreter import Binding, bind
from kgated_edge.runtime.quantization import reader, results_reader, storer
from kgated_edge.runtime.state_file import Stateful, check_external
from kgated_edge.runtime.stream_model import busy, check_states, exclusive
from kgated_edge.runtime.tensor_views import BytesReader, address, as_bytes, bytes_reader

_ALL = slice(None)
Column = tuple[memoryview, tuple[bytes, ...]]
"""An input tensor, and the bytes to copy into it for each session."""


StepResources = tuple[
    Writer, list[tuple[memoryview, int]], Callable[[], None], BytesReader, Callable[[], Any]
]
"""What a step of a session needs: (write, state_targets, invoke, read_bytes, read).

`write` checks a frame and copies it into the input tensors. `state_targets` are the states' input
tensors, each with the place of its bytes among a session's. `invoke` runs the interpreter,
`read_bytes` returns the bytes of all state and output tensors, `read` a copy of the outputs.
"""


class SessionPool:
    """Any number of sessions of a streaming model, served by one interpreter.

    Equation: (output_t, state_t) = step(frame_t, state_{t-1}), for each session on its own.

    A pool and its sessions may be used by one thread at a time. A call during another thread's call
    raises `EdgeError`. `clone` makes a pool for another thread.

    Args:
        path: a `.tflite` file made by `kgated convert`, with external state.
        num_threads: threads of the interpreter, at least 1.

    Raises:
        ManifestError: the file cannot be run; the message says why and what to do.
        StateError: the file keeps its state inside the interpreter.

    Example:
        >>> pool = SessionPool("speaker.tflite")
        >>> sessions = [pool.open() for _ in range(3000)]
        >>> outputs = pool.step(sessions, frames)       # (3000, 12) float32 to (3000, 9)
        >>> output = sessions[7].step(frame)            # or each session when its frame arrives
    """

    def __init__(self, path: str | Path, num_threads: int = 1) -> None:
        self._set_up(bind(path, num_threads, "stream"))

    def _set_up(self, binding: Binding) -> None:
        manifest = binding.manifest
        check_external(manifest)
        if manifest.batch > 1:
            raise EdgeError(
                "a pool takes files of batch 1, a session per call: convert the model so"
            )
        self._binding, self._manifest = binding, manifest
        states = [binding.outputs[spec.name] for spec in manifest.states]
        outputs = [binding.outputs[spec.name] for spec in manifest.outputs]
        # An output may be a state's tensor, as in a model of one cell: it is not read twice.
        state_addresses = {address(state) for state in states}
        views = states + [view for view in outputs if address(view) not in state_addresses]
        read_bytes, places = bytes_reader(views)
        by_address = {address(view): place for view, place in zip(views, places, strict=True)}
        self._state_places = places[: len(states)]
        self._output_places = [by_address[address(output)] for output in outputs]
        self._empty = [b""] * len(views)
        targets = [as_bytes(binding.inputs[spec.name]) for spec in manifest.states]
        write = step_writer(manifest.blocks, binding.inputs)
        state_targets = list(zip(targets, self._state_places, strict=True))
        invoke = binding.interpreter.invoke
        read = results_reader(manifest.outputs, binding.outputs)
        # Empty while a thread uses the pool, as in EdgeModel.
        self._idle: list[StepResources] = [(write, state_targets, invoke, read_bytes, read)]

    @property
    def manifest(self) -> Manifest:
        """What the file says about itself."""
        return self._manifest

    def open(self) -> "Session":
        """A new session with states of zero; it ends when nothing refers to it."""
        return Session(self)

    def clone(self) -> "SessionPool":
        """A second pool on the same loaded bytes, for another thread; its sessions are its own."""
        pool = object.__new__(type(self))
        pool._set_up(self._binding.clone())
        return pool

    def step(self, sessions: "Sequence[Session]", frames: Any) -> Any:
        """Runs one step of each session, in order; a session that is listed twice takes two.

        Args:
            sessions: n sessions of this pool.
            frames: (n, *block), for each session what `EdgeModel.step` takes; with several inputs a
                dict of such arrays.

        Returns:
            (n, *manifest.output.shape), float32; with several outputs a dict of such arrays.

        Raises:
            FrameError: a frame is invalid; its number is the session's. No session has changed.
            EdgeError: a session of another pool, or another thread uses the pool; no session has
                changed. Or the interpreter fails at a session; those before it have changed.
        """
        self._check_own(sessions)
        columns = self._columns(len(sessions), frames)
        with exclusive(self._idle, "pool") as resources:
            try:
                results = _round(resources, sessions, columns)
            except RuntimeError as error:
                raise cannot_run(error) from None
        places = zip(self._manifest.outputs, self._output_places, strict=True)
        return unwrap_single(
            {spec.name: _join(spec, [row[place] for row in results]) for spec, place in places}
        )

    def _check_own(self, sessions: "Sequence[Session]") -> None:
        try:
            are_own = not [session for session in sessions if session._pool is not self]
        except AttributeError:
            are_own = False
        if not are_own:
            raise EdgeError(
                "`sessions` must be of this pool: step each with the pool that opened it"
            )

    def _columns(self, count: int, frames: Any) -> list[Column]:
        """A column for each input."""
        arrays = as_dict(self._manifest.frames, frames)
        columns = []
        for spec in self._manifest.blocks:
            array = arrays[spec.name]
            if not isinstance(array, np.ndarray) or array.shape != (count, *spec.shape):
                got = array.shape if isinstance(array, np.ndarray) else type(array).__name__
                rule = (
                    f"`frames` must be an array of shape {(count, *spec.shape)}, a row per session"
                )
                raise FrameError(f"{rule}, got {got}: stack the frames of these sessions")
            check_frames(spec, array)
            columns.append((as_bytes(self._binding.inputs[spec.name]), _rows(spec, array)))
        return columns


class Session(Stateful):
    """One stream of a pool: nothing but its states. Made by `SessionPool.open`."""

    __slots__ = ("_content", "_pool")

    def __init__(self, pool: SessionPool) -> None:
        self._pool, self._manifest = pool, pool.manifest
        self._content = self._packed(self._zeros())

    @property
    def state(self) -> dict[str, Array]:
        """As `EdgeModel.state`: each accepts the state of the other."""
        pairs = zip(self._manifest.states, self._pool._state_places, strict=True)
        return {
            spec.name: np.frombuffer(self._content[place], spec.dtype).reshape(spec.shape).copy()
            for spec, place in pairs
        }

    @state.setter
    def state(self, values: Mapping[str, Array]) -> None:
        check_states(self._manifest.states, values)
        # A round of another thread would overwrite it.
        with exclusive(self._pool._idle, "pool"):
            self._content = self._packed(values)

    def reset(self) -> None:
        """Sets all states to zero, as at the start of a sequence."""
        self.state = self._zeros()

    def step(self, frame: Any) -> Any:
        """As `EdgeModel.step`: runs one frame and updates the state."""
        idle = self._pool._idle
        try:
            resources = idle.pop()
        except IndexError:
            raise busy("pool") from None
        try:
            write, state_targets, invoke, read_bytes, read = resources
            write(frame)
            content = self._content
            for target, place in state_targets:
                target[_ALL] = content[place]
            invoke()
            self._content = read_bytes()
            return read()
        except RuntimeError as error:
            raise cannot_run(error) from None
        finally:
            idle.append(resources)

    def _zeros(self) -> dict[str, Array]:
        states = self._manifest.states
        return {s.name: np.full(s.shape, s.zero_point or 0, s.dtype) for s in states}

    def _packed(self, values: Mapping[str, Array]) -> tuple[bytes, ...]:
        content = list(self._pool._empty)
        for spec, place in zip(self._manifest.states, self._pool._state_places, strict=True):
            content[place] = values[spec.name].tobytes()
        return tuple(content)


def _round(
    resources: StepResources, sessions: Sequence[Session], columns: list[Column]
) -> list[tuple[bytes, ...]]:
    """The hot loop: `Session.step`, with what is the same for all sessions done once.

    The first input and two states, which most models have, are unrolled: looping over them takes as
    long as copying them.
    """
    _, state_targets, invoke, read_bytes, _ = resources
    (input_1, rows), *more_inputs = columns
    targets: list[tuple[memoryview | None, int]] = [*state_targets, (None, 0), (None, 0)]
    (state_1, place_1), (state_2, place_2) = targets[:2]
    more_states = state_targets[2:]
    results = list[tuple[bytes, ...]]()
    add = results.append
    for session, row in zip(sessions, rows, strict=True):
        input_1[_ALL] = row
        if more_inputs:
            for target, column in more_inputs:
                target[_ALL] = column[len(results)]
        content = session._content
        if state_1:
            state_1[_ALL] = content[place_1]
        if state_2:
            state_2[_ALL] = content[place_2]
        if more_states:
            for target, place in more_states:
                target[_ALL] = content[place]
        invoke()
        session._content = content = read_bytes()
        add(content)
    return results


def _rows(spec: TensorSpec, frames: Array) -> tuple[bytes, ...]:
    """The bytes of each frame in the tensor's dtype."""
    if frames.dtype != spec.dtype:
        buffer, frames = frames.copy(), np.empty(frames.shape, spec.dtype)
        storer(spec.rows(len(frames)), frames, buffer)()
    # Five times as fast as slices.
    return struct.unpack(f"{spec.size * frames.itemsize}s" * len(frames), frames.tobytes())


def _join(spec: TensorSpec, parts: list[bytes]) -> Array:
    """An output of all sessions, as the caller gets it."""
    rows = spec.rows(len(parts))
    array = np.frombuffer(bytearray().join(parts), spec.dtype).reshape(rows.shape)
    return reader(rows, array)() if spec.is_quantized else array
