"""Runs a streaming model frame by frame."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kgated_edge.errors import EdgeError, cannot_run
from kgated_edge.format.tensor_spec import Array
from kgated_edge.format.verified_file import ModelPath
from kgated_edge.runtime.bad_frames import HOLD, REFUSE, LastGoodFrames, check_policy
from kgated_edge.runtime.batching import as_dict, broadcast_batch, tail, unwrap_single
from kgated_edge.runtime.engines import LITERT, bind_engine
from kgated_edge.runtime.exclusive import busy, exclusive
from kgated_edge.runtime.input_writer import Writer, step_writer
from kgated_edge.runtime.interpreter import Binding
from kgated_edge.runtime.no_copies import MODEL_INSTEAD, NoCopies
from kgated_edge.runtime.quantization import results_reader
from kgated_edge.runtime.results import in_order, steps_and_results
from kgated_edge.runtime.state_checks import check_states
from kgated_edge.runtime.state_file import Stateful, check_external
from kgated_edge.runtime.tensor_views import ByteCopies, state_copies
from kgated_edge.runtime.text_methods import TextMethods, texts_to_ids
from kgated_edge.signing.check import opened

_ALL = slice(None)


# A plain tuple: a NamedTuple takes up to 40 ns longer to unpack, of a microsecond around `invoke`.
StepResources = tuple[Writer, Callable[[], object], ByteCopies, Callable[[], Any]]
"""The resources of a step: (write, invoke, copies, read).

`write` checks a frame and copies it into the input tensors, `invoke` runs the interpreter, `copies`
move the state outputs to the state inputs, `read` returns a copy of the outputs.
"""


class EdgeModel(Stateful, TextMethods, NoCopies):
    """A streaming model with its state, one frame per call.

    Equation: (output_t, state_t) = step(frame_t, state_{t-1}), state_0 = 0.

    A model with `manifest.frames_per_step` = k > 1 (its layers stride over time, or it was
    converted with `block=k`) takes blocks (k, *frame), and returns `manifest.results_per_step` = r
    results per block: (r, *output), or (*output) for r = 1. A model with several inputs takes a
    dict of arrays by name, one with several outputs returns a dict. A file with `manifest.batch` =
    B > 1 runs B streams in parallel: B is then the first axis of frames, results and states.

    A model may be used by one thread at a time. A call during another thread's call raises
    `EdgeError`.

    Args:
        path: a `.tflite` file made by `kgated convert`.
        num_threads: threads of the interpreter, at least 1.
        on_bad_frame: what happens to a frame with NaN or inf: "refuse" raises `FrameError`; "hold"
            uses the last good frame instead and counts it in `held_frames`. Without a good frame
            since the last reset, "hold" raises too.
        engine: "litert": the interpreter; "native": the library that `kgated-edge build` made of
            the file's C sources.
        require_key, version_file: refuse a file without a signature; see `require_signature`.

    Raises:
        ManifestError: the file cannot be run; the message says why and what to do.
        SignatureError: the file is not signed as `require_key` and `version_file` ask.
        EdgeError: engine="native", and the library is missing, of another file or CPU, or wrong.

    Example:
        >>> model = EdgeModel("speaker.tflite")
        >>> for frame in sequence:          # each (12,) float32
        ...     output = model.step(frame)  # (9,) float32
        >>> model.reset()
    """

    __slots__ = (
        "__weakref__",
        "_binding",
        "_check",
        "_idle",
        "_interpreter",
        "_last_good",
        "_quick",
        "_resources",
        "_states",
    )
    _instead = MODEL_INSTEAD

    def __init__(
        self,
        path: ModelPath,
        num_threads: int = 1,
        *,
        on_bad_frame: str = REFUSE,
        engine: str = LITERT,
        require_key: str | Path | None = None,
        version_file: str | Path | None = None,
    ) -> None:
        check_policy(on_bad_frame)
        path = opened(path, require_key, version_file)
        self._set_up(bind_engine(path, num_threads, "stream", engine), on_bad_frame)

    def _set_up(self, binding: Binding, on_bad_frame: str) -> None:
        manifest, inputs, outputs = binding.manifest, binding.inputs, binding.outputs
        if on_bad_frame == HOLD and manifest.batch > 1:
            raise EdgeError('on_bad_frame="hold" is for files of batch 1: convert the model so')
        self._binding, self._manifest = binding, manifest
        self._interpreter = binding.interpreter
        self._last_good = LastGoodFrames() if on_bad_frame == HOLD else None
        names = [spec.name for spec in manifest.states]
        self._states = {name: inputs[name] for name in names}
        self._check = step_writer(manifest.blocks, inputs, self._last_good, manifest.frames)
        write = self._check
        if binding.checks_numbers and self._last_good is None:
            write = step_writer(manifest.blocks, inputs, finite=False)
        pairs = [(inputs[name], outputs[name]) for name in names]
        # A native library updates the states where they are.
        copies = state_copies(
            [(target, source) for target, source in pairs if target is not source]
        )
        read = results_reader(manifest.answers, outputs)
        # Empty while a thread uses the model. `pop` is atomic, and takes half of a lock's time.
        self._resources: StepResources = (write, self._interpreter.invoke, copies, read)
        self._idle = [self._resources]
        self._quick = None if self._last_good else binding.quick_step(self._idle)
        self.reset()

    @property
    def engine(self) -> str:
        """The engine: "litert" or "native"."""
        return self._binding.engine

    @property
    def held_frames(self) -> int:
        """How many frames with NaN or inf were replaced, with on_bad_frame="hold"."""
        return self._last_good.count if self._last_good else 0

    @property
    def state(self) -> dict[str, Array]:
        """A copy of each state tensor by name, without a batch axis of 1, as it is stored.

        It can be assigned: all names, each an array of the state's shape and dtype, all finite.
        Anything else raises `StateError` and changes nothing. The state of a file converted with
        state="internal" cannot be read or assigned: `StateError`.
        """
        check_external(self._manifest)
        return exclusive(self._idle, "model", self._state_copies)

    @state.setter
    def state(self, values: Mapping[str, Array]) -> None:
        check_external(self._manifest)
        check_states(self._manifest.carried, values)
        exclusive(self._idle, "model", lambda: self._assign(values))

    def _state_copies(self) -> dict[str, Array]:
        return {name: view.copy() for name, view in self._states.items()}

    def _assign(self, values: Mapping[str, Array]) -> None:
        for name, view in self._states.items():
            view[...] = values[name]

    def clone(self) -> "EdgeModel":
        """A second model on the same loaded bytes, with its own interpreter and state.

        The state starts at zero.
        """
        model = object.__new__(type(self))
        model._set_up(self._binding.clone(), HOLD if self._last_good else REFUSE)
        return model

    def step(self, frame: Any) -> Any:
        """Runs one frame, or one block of frames, and updates the state.

        Args:
            frame: array of shape `manifest.frame.shape` and its dtype; an int for a token model.
                A quantized model takes float32, which it quantizes, or its own integer dtype.
                With k frames per step (k, *manifest.frame.shape), with a batch (B, ...) of these;
                with several inputs a dict.

        Returns:
            a new float32 array of shape `manifest.output.shape`, with a batch (B, ...); with
            several outputs a dict.

        Raises:
            FrameError: wrong shape or dtype, NaN or inf, or a token outside the vocabulary. The
                state is as before the call.
            EdgeError: another thread uses this model, or the interpreter fails. The state is as
                before the call.
        """
        quick = self._quick
        if quick is not None and (result := quick(frame)) is not None:
            return result
        # Also says what is wrong with a frame that `quick` does not take.
        idle = self._idle
        # `exclusive`, inlined: the call would cost a tenth of the step.
        try:
            resources = idle.pop()
        except IndexError:
            raise busy("model") from None
        except BaseException:  # Ctrl-C right after `pop`, whose result is lost
            idle.append(self._resources)
            raise
        try:
            write, invoke, copies, read = resources
            write(frame)
            if invoke():  # numbers that are not finite, of an engine that checks them
                self._check(frame)
            for target, source in copies:
                target[_ALL] = source
            return read()
        except RuntimeError as error:
            raise cannot_run(error) from None
        finally:
            idle.append(resources)

    def run(self, frames: Any) -> Any:
        """Runs a sequence of frames, starting from the current state.

        Args:
            frames: (T, *manifest.frame.shape), of the frame's dtype; with several inputs a dict of
                such arrays. With k frames and one result per step, the last T mod k frames are not
                used. With a result per frame, and external state, they are run in a step that is
                filled with copies of the last frame; the state stays as before that step, so give
                them again with the frames that come next. With a batch (B, T, ...). In place of ids
                a text, where the file has a vocabulary.

        Returns:
            (T // m, *manifest.output.shape), float32, with m = manifest.frames_per_result; with a
            batch (B, T // m, ...); with several outputs a dict of such arrays.

        Raises:
            FrameError: a frame is invalid; no frame has been run.
        """
        steps, count = self._steps(frames)
        manifest, before = self._manifest, None
        outputs = manifest.answers
        results = {o.name: np.empty((len(steps), *o.shape), o.real.dtype) for o in outputs}
        for n, block in enumerate(steps):
            if n == count // manifest.results_per_step:  # filled
                before = self.state
            result = self.step(block)
            for name, rows in results.items():
                rows[n] = result if len(outputs) == 1 else result[name]
        if before is not None:
            self.state = before
        return unwrap_single({n: in_order(manifest, x, count) for n, x in results.items()})

    def interval(self, result: Any) -> tuple[Array, Array]:
        """Lower and upper limits of the target, for a result of `step` or `run`.

        They hold the target with the probability `manifest.intervals.coverage`, for data like
        those that `kgated intervals` measured them on.

        Args:
            result: of the first output, (..., *manifest.output.shape).

        Raises:
            EdgeError: the file has no intervals.
        """
        intervals = self._manifest.intervals
        if intervals is None:
            raise EdgeError(
                "the file has no intervals: measure them with `kgated intervals MODEL DATA.npz`"
            )
        return intervals.bounds(result)

    def reset(self) -> None:
        """Sets all states to zero, as at the start of a sequence."""
        exclusive(self._idle, "model", self._fill_with_zeros)

    def _fill_with_zeros(self) -> None:
        self._binding.reset_internal_state()
        if self._last_good:
            self._last_good.forget()
        for spec in self._manifest.states:
            self._states[spec.name].fill(spec.zero_point or 0)

    def cut(self, frames: Any) -> list[Any]:
        """The argument of each call of `step` for a sequence; raises as `run`.

        With several results per step and external state, the last one is filled, as in `run`.
        """
        return self._steps(frames)[0]

    def _steps(self, frames: Any) -> tuple[list[Any], int]:
        """The argument of each step, and how many results are of real frames."""
        manifest = self._manifest
        if manifest.vocabularies:
            inputs, _ = texts_to_ids(manifest, as_dict(manifest.frames, frames), None)
            frames = unwrap_single(inputs)
        return steps_and_results(manifest, frames, finite=self._last_good is None)

    def golden_outputs(self) -> dict[str, Array]:
        """This device's outputs for the golden frames, in every row of a batch; resets."""
        manifest, expected = self._manifest, self._manifest.golden.outputs.items()
        self.reset()
        frames = broadcast_batch(manifest.golden.frames, manifest.batch)
        outputs = as_dict(manifest.outputs, self.run(unwrap_single(frames)))
        self.reset()
        return {name: tail(outputs[name], len(rows), manifest.batch) for name, rows in expected}
