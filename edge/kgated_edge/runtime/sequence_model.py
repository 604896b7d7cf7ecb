"""Runs a whole-sequence model."""

from pathlib import Path
from typing import Any

import numpy as np

from kgated_edge.errors import FrameError, cannot_run
from kgated_edge.format.manifest import LENGTHS, Manifest
from kgated_edge.format.tensor_spec import Array, TensorSpec
from kgated_edge.format.verified_file import ModelPath
from kgated_edge.runtime.batching import (
    as_dict,
    broadcast_batch,
    check_named,
    count_frames,
    rows,
    tail,
    unwrap_single,
)
from kgated_edge.runtime.engines import LITERT, bind_engine
from kgated_edge.runtime.input_writer import step_writer
from kgated_edge.runtime.no_copies import NoCopies
from kgated_edge.runtime.quantization import results_reader
from kgated_edge.runtime.text_methods import TextMethods, texts_to_ids
from kgated_edge.signing.check import opened


class SequenceModel(TextMethods, NoCopies):
    """A model that takes a whole sequence per call and keeps no state.

    A model with several inputs takes a dict of arrays by name, one with several outputs returns a
    dict. A file with `manifest.batch` = B > 1 takes B sequences per call.

    Args:
        path: a `.tflite` file made by `kgated convert --mode sequence`.
        num_threads: threads of the interpreter, at least 1.
        engine: "litert": the interpreter; "native": the library that `kgated-edge build` made of
            the file's C sources.
        require_key, version_file: refuse a file without a signature; see `require_signature`.

    Raises:
        ManifestError: the file cannot be run; the message says why and what to do.
        SignatureError: the file is not signed as `require_key` and `version_file` ask.
        EdgeError: engine="native", and the library is missing, of another file or CPU, or wrong.

    Example:
        >>> model = SequenceModel("word.tflite")
        >>> output = model.run(frames)      # (T, 40) float32 to (12,), or to (T, 12)
    """

    _instead = "open the file again, or give another process the file's path"

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
        self._binding = binding = bind_engine(path, num_threads, "sequence", engine)
        self._manifest = manifest = binding.manifest
        self._write = step_writer(manifest.blocks, binding.inputs)
        self._read = results_reader(manifest.answers, binding.outputs)
        self._lengths = binding.inputs[LENGTHS.name] if manifest.padded else None
        self._timed = [spec for spec in manifest.frames if manifest.is_timed(spec)]

    @property
    def manifest(self) -> Manifest:
        """The manifest in the file."""
        return self._manifest

    @property
    def engine(self) -> str:
        """The engine: "litert" or "native"."""
        return self._binding.engine

    def run(self, frames: Any, lengths: Any = None) -> Any:
        """Runs a sequence.

        Args:
            frames: (n, *manifest.frame.shape), of the frame's dtype; n is
                `manifest.frames_per_step`, or at most that where `manifest.padded`. With several
                inputs a dict, in which those in `manifest.single` have no axis n; with a batch
                (B, n, ...). In place of ids a text, or B texts, where the file has a vocabulary.
            lengths: (B,) integers, how many of the n frames each row of a batch has where
                `manifest.padded`; None: all have n.

        Returns:
            a new float32 array, (n, *manifest.output.shape) for an output per frame, else
            `manifest.output.shape`; with a batch (B, ...), where the results after the end of a
            shorter row are zeros. With several outputs a dict.

        Raises:
            FrameError: wrong shape, dtype or length, a frame with NaN or inf, a token outside the
                vocabulary.
            EdgeError: the interpreter fails.
        """
        manifest = self._manifest
        inputs, lengths = texts_to_ids(manifest, as_dict(manifest.frames, frames), lengths)
        count, lengths = self._check_lengths(inputs, lengths)
        if self._lengths is not None:
            inputs |= {s.name: self._pad(s, inputs[s.name], lengths) for s in self._timed}
        self._write(unwrap_single(inputs))
        if self._lengths is not None:
            self._lengths[...] = lengths if manifest.batch > 1 else count
        try:
            self._binding.interpreter.invoke()
        except RuntimeError as error:
            raise cannot_run(error) from None
        outputs = as_dict(manifest.outputs, self._read())
        for spec in manifest.outputs:
            if manifest.padded and manifest.is_timed(spec):
                outputs[spec.name] = self._trim(outputs[spec.name], count, lengths)
        return unwrap_single(outputs)

    def step(self, frames: Any) -> Any:
        """The same as `run`: a step of this model is a whole sequence."""
        return self.run(frames)

    def reset(self) -> None:
        """Does nothing: the model keeps no state."""

    def cut(self, frames: Any) -> list[Any]:
        """The argument of each call of `step` for a sequence: all of it, once."""
        return [frames]

    def golden_outputs(self) -> dict[str, Array]:
        """This device's outputs for the golden frames, by name, in every row of a batch."""
        manifest, golden = self._manifest, self._manifest.golden
        inputs = {spec.name: golden.frames[spec.name][0] for spec in manifest.frames}
        for spec in self._timed:
            frames = golden.frames[spec.name]
            size = len(frames) if manifest.padded else manifest.frames_per_step
            inputs[spec.name] = np.resize(frames, (size, *frames.shape[1:]))
        result = self.run(unwrap_single(broadcast_batch(inputs, manifest.batch)))
        outputs, axis = as_dict(manifest.outputs, result), 0 if manifest.batch == 1 else 1
        for spec in manifest.outputs:
            if not manifest.is_timed(spec):
                outputs[spec.name] = np.expand_dims(outputs[spec.name], axis)
        return {n: tail(outputs[n], len(y), manifest.batch) for n, y in golden.outputs.items()}

    def _check_lengths(self, inputs: dict[str, Any], lengths: Any) -> tuple[int, list[int]]:
        """The number of frames, and how many of them each row has."""
        manifest = self._manifest
        batch, size, padded = manifest.batch, manifest.frames_per_step, manifest.padded
        frames = {spec.name: rows(spec, inputs[spec.name], batch) for spec in self._timed}
        count = count_frames({n: x if batch > 1 else x[0] for n, x in frames.items()}, batch)
        if not (1 <= count <= size if padded else count == size):
            allowed = f"1 to {size}" if padded else f"{size}"
            raise FrameError(f"a sequence must have {allowed} frames, got {count}: cut or pad it")
        if lengths is None:
            return count, [count] * batch
        array = np.asarray(lengths)
        if not padded or batch == 1:
            raise FrameError("`lengths` is for files with a batch above 1 and padded sequences")
        if array.shape != (batch,) or array.dtype.kind not in "iu":
            raise FrameError(f"`lengths` must be ({batch},) integers, got {lengths!r}")
        if array.min() < 1 or array.max() > count:
            raise FrameError(f"`lengths` must be in 1..{count}, the frames given, got {lengths!r}")
        return count, array.tolist()

    def _pad(self, spec: TensorSpec, array: Any, lengths: list[int]) -> Array:
        """The frames of each row, padded with zeros to the file's length."""
        padded, named = [], len(self._manifest.frames) > 1
        for row, length in zip(rows(spec, array, self._manifest.batch), lengths, strict=True):
            check_named(spec, row[:length] if np.ndim(row) else row, named)
            padding = np.zeros((self._manifest.frames_per_step - length, *spec.shape), row.dtype)
            padded.append(np.concatenate([row[:length], padding]))
        return np.stack(padded) if self._manifest.batch > 1 else padded[0]

    def _trim(self, results: Array, count: int, lengths: list[int]) -> Array:
        """The results of `count` frames, with zeros after the end of a shorter row."""
        if self._manifest.batch == 1:
            return results[:count]
        for row, length in zip(results, lengths, strict=True):
            row[length:] = 0.0
        return results[:, :count]
