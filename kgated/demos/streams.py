"""Long recordings joined from short ones, with a table of their events."""

import csv
import wave
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

Array = np.ndarray


class Labelled(NamedTuple):
    """An event in a recording; times in seconds."""

    start_s: float
    end_s: float
    label: str


@dataclass(frozen=True)
class Stream:
    """A long recording.

    Attributes:
        samples: (T, ...) at `rate`.
        events: what happens in it, in time.
        rate: samples per second.
    """

    samples: Array
    events: Sequence[Labelled]
    rate: float


def join_pieces(pieces: Iterator[tuple[Array, str | None]], seconds: float, rate: float) -> Stream:
    """Pieces one after another until there are `seconds` of them.

    Args:
        pieces: endless; samples (t, ...), and a label, or None for the background.
        seconds: length of the stream.
        rate: samples per second.
    """
    parts: list[Array] = []
    events, place = [], 0
    for samples, label in pieces:
        if place + len(samples) > seconds * rate:
            break
        if label is not None:
            events.append(Labelled(place / rate, (place + len(samples)) / rate, label))
        parts.append(samples)
        place += len(samples)
    return Stream(np.concatenate(parts), events, rate)


def write_streams(
    folder: Path,
    streams: Sequence[Stream],
    write: Callable[[Path, Stream], Path],
) -> Path:
    """Writes each stream as a file of `folder`, and the events as `folder`.csv; returns the table.

    Args:
        folder: it is made.
        streams: to write.
        write: from a path without suffix and a stream to the file that it has written.
    """
    folder.mkdir(exist_ok=True)
    table = folder.with_suffix(".csv")
    with table.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "start", "end", "label"])
        for n, stream in enumerate(streams):
            name = write(folder / f"{n:02}", stream).name
            rows.writerows(
                [name, f"{e.start_s:.3f}", f"{e.end_s:.3f}", e.label] for e in stream.events
            )
    return table


def write_csv(path: Path, stream: Stream, names: Sequence[str]) -> Path:
    """Writes a stream as a CSV file with a time column."""
    path = path.with_suffix(".csv")
    times = np.arange(len(stream.samples)) / stream.rate
    rows = np.column_stack([times, stream.samples])
    formats = ["%.3f"] + ["%.6g"] * len(names)
    header = ",".join(["time", *names])
    np.savetxt(path, rows, fmt=formats, delimiter=",", header=header, comments="")
    return path


def write_wav(path: Path, stream: Stream) -> Path:
    """Writes a stream of samples in -1..1 as a WAV file of 16 bits."""
    path = path.with_suffix(".wav")
    values = np.rint(np.clip(stream.samples, -1, 1) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(round(stream.rate))
        file.writeframes(values.tobytes())
    return path
