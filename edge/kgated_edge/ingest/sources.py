"""Reads frames from a pipe or a file, as numbers or as audio."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from kgated_edge.errors import EdgeError
from kgated_edge.format.tensor_spec import Array, TensorSpec
from kgated_edge.ingest.arrays import stored_frames
from kgated_edge.ingest.audio import MakeFrontEnd, audio_frames, wav_frames
from kgated_edge.ingest.csv_frames import csv_frames
from kgated_edge.ingest.csv_layout import CsvColumns
from kgated_edge.ingest.input_counts import REFUSE, InputCounts, good_frames
from kgated_edge.runtime.results import fill


@dataclass(frozen=True)
class InputOptions:
    """How an input is read.

    Attributes:
        columns: of CSV.
        on_bad_frame: one of `POLICIES`.
        counts: what was wrong with the input, updated while it is read.
        rate: samples per second of "pcm", where they differ from the front end's.
    """

    columns: CsvColumns = field(default_factory=CsvColumns)
    on_bad_frame: str = REFUSE
    counts: InputCounts = field(default_factory=InputCounts)
    rate: int | None = None

    def for_model(self, names: Sequence[str] | None, period_s: float | None) -> "InputOptions":
        """These options with the names of the model's features and its period, for CSV."""
        columns = replace(self.columns, trained=names, period_s=period_s)
        return replace(self, columns=columns)


FORMATS = ("float32", "csv", "wav", "pcm", "npy", "npz")


def form_of(path: Path) -> str:
    """The format of a file by its suffix; "float32" where it says none."""
    suffix = path.suffix[1:].lower()
    return suffix if suffix in FORMATS else "float32"


def frames_of(
    stream: IO[bytes],
    form: str,
    spec: TensorSpec,
    front_end: MakeFrontEnd,
    options: InputOptions | None = None,
) -> Iterator[Array]:
    """Yields frames (*spec.shape) one by one, each as soon as its bytes have arrived.

    An incomplete frame at the end is left out.

    Args:
        stream: binary; it need not be seekable.
        form: "float32": the numbers of all frames in order, little-endian; "csv": a frame per line,
            see `csv_frames`; "wav": PCM; "pcm": 16-bit samples of one channel without a header,
            little-endian; "npy": an array (T, *spec.shape); "npz": `x` (N, T, *spec.shape) and
            `lengths`, the sequences one after the other.
        spec: one frame of the model's input.
        front_end: makes the front end for audio from the file's rate, or None.
        options: columns of CSV, and what happens to bad lines and frames.

    Raises:
        EdgeError: an unknown form.
        DataError: a line that is not a frame, an audio file of another kind.
    """
    options = options or InputOptions()
    frames: Iterator[Array | None]
    if form == "float32":
        frames = _binary(stream, spec)
    elif form in ("npy", "npz"):
        frames = stored_frames(stream, form, spec)
    elif form == "csv":
        frames = csv_frames(stream, spec, options.columns, options.on_bad_frame, options.counts)
    elif form == "wav":
        frames = wav_frames(stream, front_end)
    elif form == "pcm":
        frames = audio_frames(stream.read, front_end(options.rate), rate=options.rate)
    else:
        raise EdgeError(f"`form` must be one of {list(FORMATS)}, got {form!r}")
    return good_frames(frames, spec, options.on_bad_frame, options.counts)


def _binary(stream: IO[bytes], spec: TensorSpec) -> Iterator[Array]:
    stored = np.dtype(spec.real.dtype).newbyteorder("<")
    size = spec.size * stored.itemsize
    while len(content := stream.read(size)) == size:
        yield np.frombuffer(content, stored).reshape(spec.shape).astype(spec.real.dtype)


@dataclass(frozen=True)
class PartialBlock:
    """The last block of a stream, filled with copies of its last frame.

    Attributes:
        frames: (size, *frame).
        count: how many of them were read.
    """

    frames: Array
    count: int


def blocks_of(frames: Iterator[Array], size: int, fills: bool = False) -> Iterator[Any]:
    """Groups frames into blocks (size, *frame).

    An incomplete block at the end is left out, or with `fills` is a `PartialBlock`.
    """
    if size == 1:
        yield from frames
        return
    block: list[Array] = []
    for frame in frames:
        block.append(frame)
        if len(block) == size:
            yield np.stack(block)
            block.clear()
    if block and fills:
        yield PartialBlock(fill(np.stack(block), size), len(block))
