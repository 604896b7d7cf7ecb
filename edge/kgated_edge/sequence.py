"""Runs a whole-sequence model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kgated_edge.binding import bind
from kgated_edge.errors import FrameError
from kgated_edge.frames import check_frames, frame_writer
from kgated_edge.manifest import LENGTHS, Manifest
from kgated_edge.quantized import reader
from kgated_edge.specs import Array


class SequenceModel:
    """A model that takes a whole sequence in one call, and keeps no state.

    Args:
        path: a `.tflite` file made by `kgated convert --mode sequence`.
        num_threads: threads of the interpreter, at least 1.

    Raises:
        ManifestError: the file cannot be run; the message says why and what to do.

    Example:
        >>> model = SequenceModel("word.tflite")
        >>> output = model.run(frames)      # (T, 40) float32 to (12,), or to (T, 12)
    """

    def __init__(self, path: str | Path, num_threads: int = 1) -> None:
        self._binding = found = bind(path, num_threads, "sequence")
        self._manifest = manifest = found.manifest
        (block,), (result,) = manifest.blocks, manifest.results
        self._write: Callable[[Any], None] = frame_writer(block, found.inputs[block.name])
        self._read: Callable[[], Array] = reader(result, found.outputs[result.name])
        self._lengths = found.inputs[LENGTHS.name] if manifest.padded else None

    @property
    def manifest(self) -> Manifest:
        """What the file says about itself."""
        return self._manifest

    def run(self, frames: Any) -> Array:
        """Takes a sequence, returns its result.

        Args:
            frames: (n, *manifest.frame.shape), of the frame's dtype; n is
                `manifest.frames_per_step`, or any number from 1 to that where `manifest.padded`.

        Returns:
            a new float32 array, (n, *manifest.output.shape) where `manifest.each_frame`, else
            `manifest.output.shape`.

        Raises:
            FrameError: wrong shape, dtype or length, a frame with NaN or inf, a token outside the
                vocabulary.
        """
        manifest, length = self._manifest, len(np.atleast_1d(frames))
        most = manifest.frames_per_step
        if not (1 <= length <= most if manifest.padded else length == most):
            allowed = f"1 to {most}" if manifest.padded else f"{most}"
            raise FrameError(f"a sequence must have {allowed} frames, got {length}: cut or fill it")
        if self._lengths is None:
            self._write(frames)
        else:
            check_frames(manifest.frame, frames)
            padding = np.zeros((most - length, *frames.shape[1:]), frames.dtype)
            self._write(np.concatenate([frames, padding]))
            self._lengths[...] = length
        self._binding.interpreter.invoke()
        result = self._read()
        return result[:length] if manifest.each_frame else result

    def step(self, frames: Any) -> Array:
        """A whole sequence is this model's step: the same as `run`."""
        return self.run(frames)

    def reset(self) -> None:
        """Nothing: the model keeps no state."""

    def cut(self, frames: Array) -> list[Array]:
        """What each call of `step` takes of a sequence: all of it, once."""
        return [frames]

    def golden_outputs(self) -> dict[str, Array]:
        """What this device answers to the manifest's golden frames, by output name."""
        manifest = self._manifest
        frames, outputs = manifest.golden.frames, manifest.golden.outputs
        (only,) = frames.values()
        (name,) = outputs
        size = len(only) if manifest.padded else manifest.frames_per_step
        result = self.run(np.resize(only, (size, *only.shape[1:])))
        rows = result if manifest.each_frame else result[None]
        return {name: rows[-len(outputs[name]) :]}
