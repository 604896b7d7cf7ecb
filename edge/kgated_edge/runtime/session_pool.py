"""Thousands of sessions on one model, whose states are copied in and out."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kgated_edge.errors import EdgeError, FrameError, cannot_run
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.tensor_spec import Array, TensorSpec
from kgated_edge.format.verified_file import ModelPath
from kgated_edge.runtime.batching import as_dict, unwrap_single
from kgated_edge.runtime.engines import LITERT, NativeBinding, bind_engine
from kgated_edge.runtime.exclusive import busy, exclusive
from kgated_edge.runtime.input_writer import Writer, check_frames, step_writer
from kgated_edge.runtime.interpreter import Binding
from kgated_edge.runtime.native_rounds import NativeRounds
from kgated_edge.runtime.no_copies import NoCopies
from kgated_edge.runtime.quantization import reader, results_reader, storer
from kgated_edge.runtime.session_rounds import InterpreterRounds, StateCopies
from kgated_edge.runtime.session_states import SessionStates
from kgated_edge.runtime.state_checks import are_finite, check_states
from kgated_edge.runtime.state_file import Stateful, check_external
from kgated_edge.signing.check import opened

_ALL = slice(None)

StepResources = tuple[Writer, Callable[[], None], Callable[[], Any]]
"""The resources of a step of a session, besides its states: (write, invoke, read).

`write` checks a frame and copies it into the input tensors, `invoke` runs the interpreter, `read`
returns a copy of the outputs.
"""


class SessionPool(NoCopies):
    """Any number of sessions of a streaming model, served by one interpreter or library.

    Equation: (output_t, state_t) = step(frame_t, state_{t-1}), for each session on its own.

    A pool and its sessions may be used by one thread at a time. A call during another thread's call
    raises `EdgeError`. `clone` makes a pool for another thread.

    Args:
        path: a `.tflite` file made by `kgated convert`, with external state.
        num_threads: threads of the interpreter, at least 1.
        engine: "litert": the interpreter, which takes sessions together where the file has
            signatures for several; "native": the library that `kgated-edge build` made of the
            file's C sources, which takes any number together.
        require_key, version_file: refuse a file without a signature; see `require_signature`.

    Raises:
        ManifestError: the file cannot be run; the message says why and what to do.
        SignatureError: the file is not signed as `require_key` and `version_file` ask.
        EdgeError: engine="native", and the library is missing, of another file or CPU, or wrong.
        StateError: the file keeps its state inside the interpreter.

    Example:
        >>> pool = SessionPool("speaker.tflite")
        >>> sessions = [pool.open() for _ in range(3000)]
        >>> outputs = pool.step(sessions, frames)       # (3000, 12) float32 to (3000, 9)
        >>> output = sessions[7].step(frame)            # or each session when its frame arrives
    """

    _instead = "call clone() for a second pool with the same file"

    def __init__(
        self,
        path: ModelPath,
        num_threads: int = 1,
        *,
        engine: str = LITERT,
        require_key: str | Path | None = None,
        version_file: str | Path | None = None,
    ) -> None:
        path = opened(path, require_key, version_file)
        self._set_up(bind_engine(path, num_threads, "stream", engine, keep_whole=True))

    def _set_up(self, binding: Binding) -> None:
        self._manifest = manifest = binding.manifest
        check_external(manifest)
        if manifest.batch > 1:
            raise EdgeError(
                "a pool takes files of batch 1, a session per call: convert the model so, with "
                "`sessions` for many sessions at once"
            )
        self._binding, self._states = binding, SessionStates(manifest.states)
        self._rounds = _rounds(binding, self._states)
        self._inputs = manifest.blocks
        self._outputs = [(o.name, o.shape, np.dtype(o.dtype)) for o in manifest.answers]
        write = step_writer(manifest.blocks, binding.inputs)
        invoke = binding.interpreter.invoke
        read = results_reader(manifest.answers, binding.outputs)
        # Empty while a thread uses the pool, as in EdgeModel.
        self._resources: StepResources = (write, invoke, read)
        self._idle = [self._resources]

    @property
    def manifest(self) -> Manifest:
        """The manifest in the file."""
        return self._manifest

    @property
    def engine(self) -> str:
        """The engine: "litert" or "native"."""
        return self._binding.engine

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
        numbers = self._numbers(sessions)
        frames = self._stored(len(sessions), frames)
        results = {
            name: np.empty((len(sessions), *shape), dtype) for name, shape, dtype in self._outputs
        }
        # Inlined, as in `Session.step`.
        idle = self._idle
        try:
            resources = idle.pop()
        except IndexError:
            raise busy("pool") from None
        except BaseException:  # Ctrl-C right after `pop`, whose result is lost
            idle.append(self._resources)
            raise
        try:
            self._rounds.run(numbers, sessions, frames, results)
        except RuntimeError as error:
            raise cannot_run(error) from None
        finally:
            idle.append(resources)
        specs = self._manifest.answers
        return unwrap_single({spec.name: _real(spec, results[spec.name]) for spec in specs})

    def reset_not_finite(self, sessions: "Sequence[Session]") -> list[int]:
        """Sets to zero the state of each session that holds NaN or inf; see `has_finite_state`.

        Args:
            sessions: of this pool, each once. It takes less time than a step of them.

        Returns:
            the places in `sessions` of those that were reset.
        """
        numbers = self._numbers(sessions)
        if len(set(numbers)) < len(numbers):
            raise EdgeError("`sessions` must be different ones: list each once")
        bad = exclusive(self._idle, "pool", lambda: self._states.not_finite(numbers))
        for place in bad:
            sessions[place].reset()
        return bad

    def _numbers(self, sessions: "Sequence[Session]") -> list[int]:
        """The row of states of each session."""
        try:
            numbers = [session._number for session in sessions if session._pool is self]
        except AttributeError:
            numbers = []
        if len(numbers) != len(sessions):
            raise EdgeError(
                "`sessions` must be of this pool: step each with the pool that opened it"
            )
        return numbers

    def _stored(self, count: int, frames: Any) -> dict[str, Array]:
        """The frames of all sessions by input, in the dtypes of the tensors."""
        arrays, stored = as_dict(self._manifest.frames, frames), {}
        for spec in self._inputs:
            array = arrays[spec.name]
            if not isinstance(array, np.ndarray) or array.shape != (count, *spec.shape):
                got = array.shape if isinstance(array, np.ndarray) else type(array).__name__
                rule = (
                    f"`frames` must be an array of shape {(count, *spec.shape)}, a row per session"
                )
                raise FrameError(f"{rule}, got {got}: stack the frames of these sessions")
            if array.dtype != np.float32 or not are_finite([array]):
                check_frames(spec, array)
            stored[spec.name] = array if array.dtype == spec.dtype else _quantized(spec, array)
        return stored


def _rounds(binding: Binding, states: SessionStates) -> InterpreterRounds | NativeRounds:
    if isinstance(binding, NativeBinding):
        return NativeRounds(binding, states)
    return InterpreterRounds(binding, states)


class Session(Stateful, NoCopies):
    """One stream of a pool: nothing but its states. Made by `SessionPool.open`."""

    __slots__ = ("_copies", "_number", "_pool")
    _instead = "open() another session of its pool, and assign its `state`"
    _copies: StateCopies

    def __init__(self, pool: SessionPool) -> None:
        self._pool, self._manifest = pool, pool.manifest
        self._number = pool._states.acquire()

    def __del__(self) -> None:
        if hasattr(self, "_number"):  # not after a failed `__init__`
            self._pool._states.release(self._number)

    @property
    def state(self) -> dict[str, Array]:
        """As `EdgeModel.state`: each accepts the state of the other."""
        arrays = self._pool._states.arrays(self._number)
        pairs = zip(self._manifest.states, arrays, strict=True)
        return exclusive(
            self._pool._idle, "pool", lambda: {spec.name: array.copy() for spec, array in pairs}
        )

    @state.setter
    def state(self, values: Mapping[str, Array]) -> None:
        check_states(self._manifest.states, values)
        arrays = self._pool._states.arrays(self._number)
        # A round of another thread would overwrite it.
        exclusive(self._pool._idle, "pool", lambda: self._assign(arrays, values))

    def _assign(self, arrays: Sequence[Array], values: Mapping[str, Array]) -> None:
        for spec, array in zip(self._manifest.states, arrays, strict=True):
            array[...] = values[spec.name]

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
        except BaseException:  # Ctrl-C right after `pop`, whose result is lost
            idle.append(self._pool._resources)
            raise
        try:
            write, invoke, read = resources
            write(frame)
            try:
                before, after = self._copies
            except AttributeError:
                before, after = self._state_copies()
            for target, source in before:
                target[_ALL] = source
            invoke()
            for target, source in after:
                target[_ALL] = source
            return read()
        except RuntimeError as error:
            raise cannot_run(error) from None
        finally:
            idle.append(resources)

    def _state_copies(self) -> StateCopies:
        """Made at the first step alone, since sessions that run together need none."""
        try:
            return self._copies
        except AttributeError:
            pool = self._pool
            self._copies = pool._rounds.single.copies(pool._states.arrays(self._number))
            return self._copies

    def _zeros(self) -> dict[str, Array]:
        states = self._manifest.states
        return {s.name: np.full(s.shape, s.zero_point or 0, s.dtype) for s in states}


def _quantized(spec: TensorSpec, frames: Array) -> Array:
    """Frames in the tensor's dtype."""
    buffer, stored = frames.copy(), np.empty(frames.shape, spec.dtype)
    storer(spec.rows(len(frames)), stored, buffer)()
    return stored


def _real(spec: TensorSpec, rows: Array) -> Array:
    """An output of all sessions, as the caller gets it."""
    return reader(spec.rows(len(rows)), rows)() if spec.is_quantized else rows
