"""Sessions over several cores: a `SessionPool` in a process for each, with its share of them."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgated_edge.errors import EdgeError, FrameError
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.reader import read_manifest
from kgated_edge.format.tensor_spec import Array, TensorSpec
from kgated_edge.format.verified_file import ModelPath
from kgated_edge.runtime.batching import as_dict, unwrap_single
from kgated_edge.runtime.engines import LITERT, check_engine
from kgated_edge.runtime.input_writer import check_frames
from kgated_edge.runtime.session_pool import Session, SessionPool
from kgated_edge.runtime.shared_arrays import SharedArrays
from kgated_edge.signing.check import opened

if TYPE_CHECKING:  # imported where it is used: a device without a pool does not need it
    from multiprocessing.connection import Connection

_MAX_WORKERS = 256


class WorkerPool:
    """A fixed number of sessions over several processes, one per core.

    All sessions take their steps together, each process those of its own share. Frames and results
    go through shared memory. A pool may be used by one thread at a time; close it, or use it in a
    `with` block.

    Args:
        path: a `.tflite` file made by `kgated convert`, best with `sessions`.
        sessions: how many.
        workers: processes, at least 1.
        engine: "litert" or "native", as of `SessionPool`.
        require_key, version_file: refuse a file without a signature; see `require_signature`.

    Raises:
        ManifestError: the file cannot be run.
        EdgeError: a number out of range, or a process that does not start.

    Example:
        >>> with WorkerPool("speaker.tflite", sessions=3000, workers=2) as pool:
        ...     outputs = pool.step(frames)     # (3000, 12) float32 to (3000, 9)
    """

    def __init__(
        self,
        path: ModelPath,
        sessions: int,
        workers: int,
        *,
        engine: str = LITERT,
        require_key: str | Path | None = None,
        version_file: str | Path | None = None,
    ) -> None:
        for name, value in (("sessions", sessions), ("workers", workers)):
            if type(value) is not int or value < 1:
                raise EdgeError(f"`{name}` must be an int of at least 1, got {value!r}")
        if workers > min(_MAX_WORKERS, sessions):
            raise EdgeError(
                f"`workers` must be at most {min(_MAX_WORKERS, sessions)}, a session for each, "
                f"got {workers}"
            )
        check_engine(engine)
        path = opened(path, require_key, version_file)
        self._manifest = read_manifest(path)
        self._workers: list[_Worker] = []
        self._shares = _shares(sessions, workers)
        self._frames = SharedArrays.new(_real(self._manifest.blocks), sessions)
        self._results = SharedArrays.new(_real(self._manifest.answers), sessions)
        try:
            for start, stop in self._shares:
                names = self._frames.name, self._results.name
                worker = _Worker(path, engine, sessions, start, stop, names)
                self._workers.append(worker)
            for worker in self._workers:
                worker.wait()
        except BaseException:
            self.close()
            raise

    @property
    def manifest(self) -> Manifest:
        """The manifest in the file."""
        return self._manifest

    @property
    def sessions(self) -> int:
        """How many sessions there are."""
        return self._shares[-1][1]

    def step(self, frames: Any) -> Any:
        """Runs one step of every session.

        Args:
            frames: (sessions, *block), as `SessionPool.step` takes them.

        Returns:
            as `SessionPool.step`.

        Raises:
            FrameError: a frame is invalid. Sessions of other processes may have taken their step:
                reset.
            EdgeError: a process has ended.
        """
        self._frames.write(as_dict(self._manifest.frames, frames))
        try:
            self._run("step")
        except FrameError:
            for spec in _real(self._manifest.blocks):  # whose error has the number of the session
                check_frames(spec, self._frames.arrays[spec.name])
            raise
        return unwrap_single({n: x.copy() for n, x in self._results.arrays.items()})

    def reset(self) -> None:
        """Sets the states of all sessions to zero."""
        self._run("reset")

    def reset_not_finite(self) -> list[int]:
        """Resets each session whose state holds NaN or inf, and returns their numbers.

        As `SessionPool.reset_not_finite`.
        """
        return [number for numbers in self._run("reset_not_finite") for number in numbers]

    def close(self) -> None:
        """Ends the processes; a second time it does nothing."""
        for worker in self._workers:
            worker.end()
        self._workers.clear()
        self._frames.close()
        self._results.close()

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, work: str) -> list[Any]:
        """Does the work in all processes; returns the answer of each."""
        if not self._workers:
            raise EdgeError("this pool is closed: make another one")
        for worker in self._workers:
            worker.start(work)
        answers = [worker.answer() for worker in self._workers]
        errors = [answer for answer in answers if isinstance(answer, Exception)]
        if errors:
            raise errors[0]
        return answers


class _Worker:
    """One process, as its parent sees it."""

    def __init__(
        self,
        path: ModelPath,
        engine: str,
        sessions: int,
        start: int,
        stop: int,
        names: tuple[str, str],
    ) -> None:
        import multiprocessing

        # Not forked: an interpreter's threads would not be there after a fork.
        context = multiprocessing.get_context("spawn")
        self._pipe, remote = context.Pipe()
        arguments = (remote, path, engine, sessions, start, stop, names)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        remote.close()

    def wait(self) -> None:
        """Waits until it is ready; raises what it raised."""
        answer = self.answer()
        if answer is not None:
            raise answer

    def start(self, work: str) -> None:
        """Starts a step; `answer` waits for its end."""
        try:
            self._pipe.send(work)
        except OSError:
            return

    def answer(self) -> Any:
        """Waits until it is done; returns its result, or its error."""
        try:
            return self._pipe.recv()
        except (EOFError, OSError):
            return EdgeError("a process of the pool has ended: close it, and make another one")

    def end(self) -> None:
        """Ends the process."""
        self._pipe.close()
        self._process.join(timeout=2.0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _real(specs: Sequence[TensorSpec]) -> list[TensorSpec]:
    return [spec.real for spec in specs]


def _shares(sessions: int, workers: int) -> list[tuple[int, int]]:
    """The first session of each process, and the one after its last."""
    ends = [sessions * n // workers for n in range(workers + 1)]
    return list(pairwise(ends))


def _serve(
    pipe: "Connection",
    path: ModelPath,
    engine: str,
    total: int,
    start: int,
    stop: int,
    names: tuple[str, str],
) -> None:
    """The work of a process, until its parent closes the pipe."""
    try:
        pool = SessionPool(path, engine=engine)
        sessions = [pool.open() for _ in range(start, stop)]
        manifest, (frames, results) = pool.manifest, names
        blocks = SharedArrays.of(frames, _real(manifest.blocks), total)
        answers = SharedArrays.of(results, _real(manifest.answers), total)
    except EdgeError as error:
        pipe.send(error)
        return
    pipe.send(None)
    inputs = {name: array[start:stop] for name, array in blocks.arrays.items()}
    outputs = {name: array[start:stop] for name, array in answers.arrays.items()}
    while True:
        try:
            work = pipe.recv()
        except (EOFError, OSError, KeyboardInterrupt):
            return
        pipe.send(_done(work, pool, sessions, start, inputs, outputs))


def _done(
    work: str,
    pool: SessionPool,
    sessions: list[Session],
    start: int,
    inputs: Mapping[str, Array],
    outputs: Mapping[str, Array],
) -> Exception | list[int] | None:
    """Does the work; returns its result, or the error.

    Args:
        work: "step", "reset" or "reset_not_finite".
        pool: of this process.
        sessions: of this process.
        start: the number of its first session.
        inputs: arrays of the frames of these sessions, by name.
        outputs: arrays of their results, by name.
    """
    try:
        if work == "reset_not_finite":
            return [start + place for place in pool.reset_not_finite(sessions)]
        if work == "reset":
            for session in sessions:
                session.reset()
            return None
        results = as_dict(pool.manifest.outputs, pool.step(sessions, unwrap_single(inputs)))
        for name, array in results.items():
            outputs[name][...] = array
        return None
    except EdgeError as error:
        return error
