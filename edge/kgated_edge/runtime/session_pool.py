"""Thousands of sessions on one interpreter: a session is its states, swapped in and out by copy."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kgated_edge.errors import EdgeError, FrameError, cannot_run
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.tensor_spec import Array, TensorSpec
from kgated_edge.runtime.batching import alone, by_name
from kgated_edge.runtime.input_writer import check_frames, step_writer
from kgated_edge.runtime.interpreter import Binding, bind
from kgated_edge.runtime.quantization import reader, results_reader, storer
from kgated_edge.runtime.state_file import Stateful, check_external
from kgated_edge.runtime.stream_model import alone_in, busy, check_states
from kgated_edge.runtime.tensor_views import address, raw, taker

_ALL = slice(None)


class SessionPool:
    """Any number of sessions of a streaming model, served by one interpreter.

    Equation: (output_t, state_t) = step(frame_t, state_{t-1}) in each session, on its own.

    A pool is for one thread at a time: a call while another thread is inside, also by one of its
    sessions, raises `EdgeError`. For more threads there is `clone`.

    Args:
        path: a `.tflite` file made by `kgated convert`, with external state.
        num_threads: threads of the interpreter, at least 1.

    Raises:
        ManifestError: the file cannot be run; the message says why and what to do.
        StateError: the file keeps its state inside.

    Example:
        >>> pool = SessionPool("speaker.tflite")
        >>> sessions = [pool.open() for _ in range(3000)]
        >>> outputs = pool.step(sessions, frames)       # (3000, 12) float32 to (3000, 9)
        >>> output = sessions[7].step(frame)            # or each when its frame comes
    """

    def __init__(self, path: str | Path, num_threads: int = 1) -> None:
        self._take(bind(path, num_threads, "stream"))

    def _take(self, found: Binding) -> None:
        check_external(found.manifest)
        if found.manifest.batch > 1:
            raise EdgeError("a pool takes files of batch 1, a session in each call: convert one")
        self._binding, self._manifest = found, found.manifest
        states = [found.outputs[spec.name] for spec in self._manifest.states]
        outputs = [found.outputs[spec.name] for spec in self._manifest.outputs]
        # An output that is a state's tensor, as that of a cell alone, is not read twice.
        known = {address(one) for one in states}
        read = states + [one for one in outputs if address(one) not in known]
        take, places = taker(read)
        by_address = {address(one): place for one, place in zip(read, places, strict=True)}
        self._state_places = places[: len(states)]
        self._output_places = [by_address[address(one)] for one in outputs]
        targets = [raw(found.inputs[spec.name]) for spec in self._manifest.states]
        self._blank = [b""] * len(read)
        # As in EdgeModel: what a step needs, while no thread is inside.
        self._idle: list[tuple[Any, ...]] = [
            (
                step_writer(self._manifest.blocks, found.inputs),
                list(zip(targets, self._state_places, strict=True)),
                found.interpreter.invoke,
                take,
                results_reader(self._manifest.outputs, found.outputs),
            )
        ]

    @property
    def manifest(self) -> Manifest:
        """What the file says about itself."""
        return self._manifest

    def open(self) -> "Session":
        """A new session, its states zero; it ends when nothing holds it."""
        return Session(self)

    def clone(self) -> "SessionPool":
        """A second pool on the same loaded bytes, for another thread; its sessions are its own."""
        pool = object.__new__(type(self))
        pool._take(self._binding.twin())
        return pool

    def step(self, sessions: "Sequence[Session]", frames: Any) -> Any:
        """A step of each session in turn; one that is there twice takes two.

        Args:
            sessions: n sessions of this pool.
            frames: (n, *block), what `EdgeModel.step` takes, for each session; a dict of such
                arrays for a model of several inputs.

        Returns:
            (n, *manifest.output.shape), float32; a dict of such where there are several outputs.

        Raises:
            FrameError: a frame is bad, its number is the session's; no session has moved.
            EdgeError: a session of another pool, or another thread is inside; none has moved. Or
                the interpreter fails at a session: those before it have.
        """
        self._check_own(sessions)
        columns = self._columns(len(sessions), frames)
        with alone_in(self._idle, "pool") as hot:
            try:
                found = _round(hot, sessions, columns)
            except RuntimeError as error:
                raise cannot_run(error) from None
        places = zip(self._manifest.outputs, self._output_places, strict=True)
        return alone({s.name: _join(s, [one[place] for one in found]) for s, place in places})

    def _check_own(self, sessions: "Sequence[Session]") -> None:
        try:
            are_own = not [one for one in sessions if one._pool is not self]
        except AttributeError:
            are_own = False
        if not are_own:
            raise EdgeError("`sessions` must be of this pool: step each by the pool that opened it")

    def _columns(self, count: int, frames: Any) -> list[tuple[memoryview, tuple[bytes, ...]]]:
        """For each input its tensor, and the bytes to put there for each session."""
        arrays = by_name(self._manifest.frames, frames)
        found = []
        for spec in self._manifest.blocks:
            array = arrays[spec.name]
            if not isinstance(array, np.ndarray) or array.shape != (count, *spec.shape):
                got = array.shape if isinstance(array, np.ndarray) else type(array).__name__
                rule = f"`frames` must be an array of shape {(count, *spec.shape)}, a row a session"
                raise FrameError(f"{rule}, got {got}: stack the frames of these sessions")
            check_frames(spec, array)
            found.append((raw(self._binding.inputs[spec.name]), _rows(spec, array)))
        return found


class Session(Stateful):
    """One stream of a pool: its states, and no more. Made by `SessionPool.open`."""

    __slots__ = ("_kept", "_pool")

    def __init__(self, pool: SessionPool) -> None:
        self._pool, self._manifest = pool, pool.manifest
        self._kept = self._packed(self._zeros())

    @property
    def state(self) -> dict[str, Array]:
        """As `EdgeModel.state`, and of the same form: the one takes what the other gave."""
        pairs = zip(self._manifest.states, self._pool._state_places, strict=True)
        kept = {spec.name: np.frombuffer(self._kept[p], spec.dtype) for spec, p in pairs}
        return {s.name: kept[s.name].reshape(s.shape).copy() for s in self._manifest.states}

    @state.setter
    def state(self, values: Mapping[str, Array]) -> None:
        check_states(self._manifest.states, values)
        # A round that runs meanwhile would write over it.
        with alone_in(self._pool._idle, "pool"):
            self._kept = self._packed(values)

    def reset(self) -> None:
        """Sets all states to zero, as at the start of a sequence."""
        self.state = self._zeros()

    def step(self, frame: Any) -> Any:
        """As `EdgeModel.step`: takes one frame, moves the state on, and returns the result."""
        idle = self._pool._idle
        try:
            hot = idle.pop()
        except IndexError:
            raise busy("pool") from None
        try:
            write, feeds, invoke, take, read = hot
            write(frame)
            kept = self._kept
            for target, place in feeds:
                target[_ALL] = kept[place]
            invoke()
            self._kept = take()
            return read()
        except RuntimeError as error:
            raise cannot_run(error) from None
        finally:
            idle.append(hot)

    def _zeros(self) -> dict[str, Array]:
        states = self._manifest.states
        return {s.name: np.full(s.shape, s.zero_point or 0, s.dtype) for s in states}

    def _packed(self, values: Mapping[str, Array]) -> tuple[bytes, ...]:
        kept = list(self._pool._blank)
        for spec, place in zip(self._manifest.states, self._pool._state_places, strict=True):
            kept[place] = values[spec.name].tobytes()
        return tuple(kept)


def _round(
    hot: tuple[Any, ...],
    sessions: Sequence[Session],
    columns: list[tuple[memoryview, tuple[bytes, ...]]],
) -> list[tuple[bytes, ...]]:
    """The hot loop: `Session.step` without what can be done once for all.

    One frame and two states, which most models have, are spelled out: to loop over them costs as
    much as to copy them.
    """
    _, feeds, invoke, take, _ = hot
    (first, rows), *others = columns
    (one, place), (two, other), *more = feeds + [(None, 0)] * (2 - len(feeds))
    found = list[tuple[bytes, ...]]()
    add = found.append
    for session, row in zip(sessions, rows, strict=True):
        first[_ALL] = row
        if others:
            for target, column in others:
                target[_ALL] = column[len(found)]
        kept = session._kept
        if one:
            one[_ALL] = kept[place]
        if two:
            two[_ALL] = kept[other]
        if more:
            for target, at in more:
                target[_ALL] = kept[at]
        invoke()
        session._kept = kept = take()
        add(kept)
    return found


def _rows(spec: TensorSpec, frames: Array) -> tuple[bytes, ...]:
    """The bytes of each frame as the tensor holds them."""
    if frames.dtype != spec.dtype:
        buffer, frames = frames.copy(), np.empty(frames.shape, spec.dtype)
        storer(spec.rows(len(frames)), frames, buffer)()
    # At a fifth of the price of slices.
    return struct.unpack(f"{spec.size * frames.itemsize}s" * len(frames), frames.tobytes())


def _join(spec: TensorSpec, parts: list[bytes]) -> Array:
    """An output of all sessions, as a caller sees it."""
    rows = spec.rows(len(parts))
    array = np.frombuffer(bytearray().join(parts), spec.dtype).reshape(rows.shape)
    return reader(rows, array)() if spec.is_quantized else array
