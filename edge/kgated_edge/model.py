"""Runs a streaming model frame by frame. The only place that makes an interpreter."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from kgated_edge import tensors
from kgated_edge.errors import EdgeError, ManifestError, StateError
from kgated_edge.frames import check_frames, frame_writer
from kgated_edge.manifest import Manifest, read_model
from kgated_edge.specs import Array, TensorSpec

_ALL = slice(None)


class EdgeModel:
    """A streaming model with its state, one frame per call.

    Equation: (output_t, state_t) = step(frame_t, state_{t-1}), state_0 = 0.

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

    __slots__ = ("__weakref__", "_hot", "_interpreter", "_manifest", "_states")

    def __init__(self, path: str | Path, num_threads: int = 1) -> None:
        if type(num_threads) is not int or num_threads < 1:
            raise EdgeError(f"`num_threads` must be an int of at least 1, got {num_threads!r}")
        content, self._manifest = read_model(path)
        try:
            self._interpreter = _interpreter(content, num_threads)
            self._bind()
        except (ManifestError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ManifestError(f"{path}: the model does not run here: {reason}") from None

    @property
    def manifest(self) -> Manifest:
        """What the file says about itself."""
        return self._manifest

    @property
    def state(self) -> dict[str, Array]:
        """A copy of each state tensor by name, without the batch axis.

        Can be assigned: all names, each an array of the right shape and dtype, all finite.
        Otherwise `StateError` is raised, and nothing has changed.
        """
        return {name: view.copy() for name, view in self._states.items()}

    @state.setter
    def state(self, values: Mapping[str, Array]) -> None:
        self._check_state(values)
        for name, view in self._states.items():
            view[...] = values[name]

    def step(self, frame: Any) -> Array:
        """Takes one frame, moves the state on, and returns the result.

        Args:
            frame: array of shape `manifest.frame.shape` and its dtype; for a token model an int.

        Returns:
            a new array of shape `manifest.output.shape`, float32.

        Raises:
            FrameError: wrong shape or dtype, NaN or inf, or a token outside the vocabulary. The
                state is as before the call.
        """
        write, invoke, copies, result = self._hot
        write(frame)
        invoke()
        for target, source in copies:
            target[_ALL] = source
        return result.copy()  # type: ignore[no-any-return]

    def run(self, frames: Array) -> Array:
        """Takes a sequence of frames, from the present state on.

        Args:
            frames: (T, *manifest.frame.shape), of the frame's dtype.

        Returns:
            (T, *manifest.output.shape), float32.

        Raises:
            FrameError: a frame is bad; none has been run.
        """
        check_frames(self._manifest.frame, frames)
        output = self._manifest.output
        results = np.empty((len(frames), *output.shape), output.dtype)
        for t, frame in enumerate(frames):
            results[t] = self.step(frame)
        return results

    def reset(self) -> None:
        """Sets all states to zero, as at the start of a sequence."""
        for view in self._states.values():
            view.fill(0)

    def _bind(self) -> None:
        """Takes the tensors' addresses, and proves that a step does not move them."""
        manifest = self._manifest
        inputs, outputs = _signature(self._interpreter, manifest)
        before = _all_addresses(self._interpreter, inputs, outputs)
        sources, results = before
        frame = tensors.view(sources[manifest.frame.name], manifest.frame)
        self._states = _views(sources, manifest.states)
        frame.fill(0)
        self.reset()
        self._interpreter.invoke()
        if _all_addresses(self._interpreter, inputs, outputs) != before:
            raise ManifestError("its tensors move while it runs: convert it with a fixed shape")
        moved = _views(results, manifest.states)
        self._hot: tuple[Any, ...] = (
            frame_writer(manifest.frame, frame),
            self._interpreter.invoke,
            tensors.copies([(view, moved[name]) for name, view in self._states.items()]),
            tensors.view(results[manifest.output.name], manifest.output),
        )

    def _check_state(self, values: Mapping[str, Array]) -> None:
        if set(values) != set(self._states):
            raise StateError(
                f"`state` must hold {sorted(self._states)}, got {sorted(values)}: "
                "assign what `model.state` of the same file returned"
            )
        for spec in self._manifest.states:
            _check_state_array(spec, values[spec.name])


def _interpreter(content: bytes, num_threads: int) -> Any:
    interpreter = Interpreter(model_content=content, num_threads=num_threads)
    interpreter.allocate_tensors()
    return interpreter


def _signature(interpreter: Any, manifest: Manifest) -> tuple[tensors.Details, tensors.Details]:
    """Details of the signature's inputs and outputs, compared with the manifest."""
    signatures = list(interpreter.get_signature_list())
    if signatures != [manifest.signature]:
        raise ManifestError(f"its signatures are {signatures}, not only `{manifest.signature}`")
    # The runner holds a reference that would make invoke() refuse; it ends with this function.
    runner = interpreter.get_signature_runner(manifest.signature)
    inputs, outputs = runner.get_input_details(), runner.get_output_details()
    tensors.check_tensors(inputs, (manifest.frame, *manifest.states))
    tensors.check_tensors(outputs, (manifest.output, *manifest.states))
    return inputs, outputs


def _all_addresses(
    interpreter: Any, inputs: tensors.Details, outputs: tensors.Details
) -> tuple[dict[str, int], dict[str, int]]:
    return tensors.addresses(interpreter, inputs), tensors.addresses(interpreter, outputs)


def _views(addresses: dict[str, int], specs: tuple[TensorSpec, ...]) -> dict[str, Array]:
    return {spec.name: tensors.view(addresses[spec.name], spec) for spec in specs}


def _check_state_array(spec: TensorSpec, value: Any) -> None:
    if not isinstance(value, np.ndarray) or value.shape != spec.shape or value.dtype != spec.dtype:
        got = f"{value.shape} {value.dtype}" if isinstance(value, np.ndarray) else type(value)
        raise StateError(
            f"state `{spec.name}` must be an array of shape {spec.shape} and dtype {spec.dtype}, "
            f"got {got}: assign what `model.state` of the same file returned"
        )
    if not np.isfinite(value).all():
        raise StateError(f"state `{spec.name}` must be finite, got NaN or inf: call reset()")
