"""Runs a whole-sequence model."""

from pathlib import Path
from typing import Any

import numpy as np

from kgated_edge.errors import FrameError, cannot_run
from kgated_edge.format.manifest import LENGTHS, Manifest
from kgated_edge.format.tensor_spec import Array, TensorSpec
from kgated_edge.runtime.batching import (
    alone,
    by_name,
    check_named,
    count_frames,
    for_rows,
    last,
    rows,
)
from kgated_edge.runtime.input_writer import step_writer
from kgated_edge.runtime.interpreter import bind
from kgated_edge.runtime.quantization import results_reader


class SequenceModel:
    """A model that takes a whole sequence in one call, and keeps no state.

    A model of several inputs takes a dict of arrays by name; one of several outputs gives a dict. A
    file of `manifest.batch` = B > 1 takes B sequences at once, in rows.

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
        self._write = step_writer(manifest.blocks, found.inputs)
        self._read = results_reader(manifest.answers, found.outputs)
        self._lengths = found.inputs[LENGTHS.name] if manifest.padded else None
        self._timed = [one for one in manifest.frames if manifest.is_timed(one)]

    @property
    def manifest(self) -> Manifest:
        """What the file says about itself."""
        return self._manifest

    def run(self, frames: Any, lengths: Any = None) -> Any:
        """Takes a sequence, returns its result.

        Args:
            frames: (n, *manifest.frame.shape), of the frame's dtype; n is
                `manifest.frames_per_step`, or any number from 1 to that where `manifest.padded`.
                With several inputs a dict, in which those of `manifest.single` are without n; with
                a batch (B, n, ...).
            lengths: (B,) integers, how many of the n frames each row of a batch has where
                `manifest.padded`; None: all have n.

        Returns:
            a new float32 array, (n, *manifest.output.shape) where there is a result per frame, else
            `manifest.output.shape`; with a batch (B, ...), zeros behind the end of a shorter row.
            With several outputs a dict.

        Raises:
            FrameError: wrong shape, dtype or length, a frame with NaN or inf, a token outside the
                vocabulary.
            EdgeError: the interpreter fails at it.
        """
        manifest = self._manifest
        given = by_name(manifest.frames, frames)
        most, ends = self._ends(given, lengths)
        if self._lengths is not None:
            given |= {one.name: self._filled(one, given[one.name], ends) for one in self._timed}
        self._write(alone(given))
        if self._lengths is not None:
            self._lengths[...] = ends if manifest.batch > 1 else most
        try:
            self._binding.interpreter.invoke()
        except RuntimeError as error:
            raise cannot_run(error) from None
        found = by_name(manifest.outputs, self._read())
        for one in manifest.outputs:
            if manifest.padded and manifest.is_timed(one):
                found[one.name] = self._ended(found[one.name], most, ends)
        return alone(found)

    def step(self, frames: Any) -> Any:
        """A whole sequence is this model's step: the same as `run`."""
        return self.run(frames)

    def reset(self) -> None:
        """Nothing: the model keeps no state."""

    def cut(self, frames: Any) -> list[Any]:
        """What each call of `step` takes of a sequence: all of it, once."""
        return [frames]

    def golden_outputs(self) -> dict[str, Array]:
        """What this device answers to the golden frames, in every row of a batch, by output."""
        manifest, golden = self._manifest, self._manifest.golden
        given = {one.name: golden.frames[one.name][0] for one in manifest.frames}
        for one in self._timed:
            frames = golden.frames[one.name]
            size = len(frames) if manifest.padded else manifest.frames_per_step
            given[one.name] = np.resize(frames, (size, *frames.shape[1:]))
        result = self.run(alone(for_rows(given, manifest.batch)))
        found, axis = by_name(manifest.outputs, result), 0 if manifest.batch == 1 else 1
        for one in manifest.outputs:
            if not manifest.is_timed(one):
                found[one.name] = np.expand_dims(found[one.name], axis)
        return {n: last(found[n], len(y), manifest.batch) for n, y in golden.outputs.items()}

    def _ends(self, given: dict[str, Any], lengths: Any) -> tuple[int, list[int]]:
        """How many frames were given, and how many of them each row has."""
        manifest = self._manifest
        batch, size, padded = manifest.batch, manifest.frames_per_step, manifest.padded
        frames = {one.name: rows(one, given[one.name], batch) for one in self._timed}
        count = count_frames({n: x if batch > 1 else x[0] for n, x in frames.items()}, batch)
        if not (1 <= count <= size if padded else count == size):
            allowed = f"1 to {size}" if padded else f"{size}"
            raise FrameError(f"a sequence must have {allowed} frames, got {count}: cut or fill it")
        if lengths is None:
            return count, [count] * batch
        ends = np.asarray(lengths)
        if not padded or batch == 1:
            raise FrameError("`lengths` is for files of several rows whose sequences may be padded")
        if ends.shape != (batch,) or ends.dtype.kind not in "iu":
            raise FrameError(f"`lengths` must be ({batch},) integers, got {lengths!r}")
        if ends.min() < 1 or ends.max() > count:
            raise FrameError(f"`lengths` must be in 1..{count}, the frames given, got {lengths!r}")
        return count, ends.tolist()

    def _filled(self, spec: TensorSpec, array: Any, ends: list[int]) -> Array:
        """The frames of each row, with zeros behind them up to the file's length."""
        found, named = [], len(self._manifest.frames) > 1
        for row, end in zip(rows(spec, array, self._manifest.batch), ends, strict=True):
            check_named(spec, row[:end] if np.ndim(row) else row, named)
            padding = np.zeros((self._manifest.frames_per_step - end, *spec.shape), row.dtype)
            found.append(np.concatenate([row[:end], padding]))
        return np.stack(found) if self._manifest.batch > 1 else found[0]

    def _ended(self, results: Array, most: int, ends: list[int]) -> Array:
        """The results of the frames given; a row's own end comes with zeros behind it."""
        if self._manifest.batch == 1:
            return results[:most]
        for row, end in zip(results, ends, strict=True):
            row[end:] = 0.0
        return results[:, :most]
