"""Builds data sets from a folder of recordings: `kgated data csv` and `kgated data wav`."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from kgated_edge.format.front_end import FrontEndSpec, front_end_from_plain, pcen_parameters
from kgated_edge.ingest.front_end import FrontEnd

from kgated.data.building.augmentation import SoundAugmentation
from kgated.data.building.data_sets import BuildOptions, Part, build
from kgated.data.reading import csv_folder, sound_folder
from kgated.data.reading.csv_folder import CsvOptions, read_csv_folder
from kgated.data.reading.label_rules import Rule, by_column, by_folder, by_pattern, by_table
from kgated.data.reading.recording import Recording, files_in
from kgated.data.reading.sound_folder import read_sound, read_sound_folder


@dataclass(frozen=True)
class LabelOptions:
    """Where labels come from; all None: from the first folder of each file.

    Attributes:
        pattern: a regular expression with a group `label`, for the name of the file.
        column: of a CSV file, a label per frame.
        table: a CSV file of file,label or of file,start,end,label.
        none: there are no labels.
    """

    pattern: str | None = None
    column: str | None = None
    table: Path | None = None
    none: bool = False

    def __post_init__(self) -> None:
        rules = [self.pattern, self.column, self.table, self.none or None]
        if sum(rule is not None for rule in rules) > 1:
            raise ValueError(
                "--label-pattern, --label-column, --label-table and --no-labels exclude each "
                "other: leave one of them"
            )

    def rule(self, root: Path, suffixes: tuple[str, ...]) -> Rule | None:
        """The rule for the recordings of a folder."""
        if self.none:
            return None
        if self.pattern is not None:
            return by_pattern(root, self.pattern)
        if self.column is not None:
            return by_column
        if self.table is not None:
            files = [
                path for path in files_in(root, suffixes) if path.resolve() != self.table.resolve()
            ]
            return by_table(root, self.table, files)
        return by_folder(root)


@dataclass(frozen=True)
class FrontEndOptions:
    """The front end of a data set of sound, with times in milliseconds.

    Attributes:
        rate: samples per second; None: that of the files.
        kind: "log-mel", "mfcc" or "pcen".
        frame_ms, hop_ms: of a frame, and from one to the next.
        mels, low_hz, high_hz: the bands.
        coefficients: of "mfcc".
        deltas: 0, 1 or 2.
    """

    rate: int | None = None
    kind: str = "log-mel"
    frame_ms: float = 25.0
    hop_ms: float = 10.0
    mels: int = 40
    low_hz: float = 20.0
    high_hz: float | None = None
    coefficients: int = 13
    deltas: int = 0

    def spec(self, rate: int) -> FrontEndSpec:
        """The front end at a rate.

        Raises:
            EdgeError: a value out of range.
        """
        spec = FrontEndSpec(
            kind=self.kind,
            rate=rate,
            window=round(self.frame_ms * rate / 1e3),
            hop=round(self.hop_ms * rate / 1e3),
            mels=self.mels,
            low_hz=float(self.low_hz),
            high_hz=None if self.high_hz is None else float(self.high_hz),
            coefficients=self.coefficients if self.kind == "mfcc" else None,
            pcen=pcen_parameters() if self.kind == "pcen" else None,
            deltas=self.deltas,
        )
        try:
            return front_end_from_plain(spec.to_plain())
        except ValueError as error:
            text = str(error).replace("manifest field", "front end:").partition(": convert it")[0]
            raise ValueError(text) from None


def csv_to_npz(
    folder: str | Path,
    output: str | Path,
    csv: CsvOptions | None = None,
    labels: LabelOptions | None = None,
    options: BuildOptions | None = None,
) -> list[Part]:
    """Build data sets from a folder of CSV files, one recording each: `kgated data csv`.

    Args:
        folder: searched with all folders in it for .csv, .tsv and .txt files.
        output: the `.npz` file, or what the names of the parts begin with.
        csv: how files are read.
        labels: where labels come from.
        options: windows, split, format.

    Returns:
        What was written.

    Raises:
        ValueError: files that can't be read or learned from; one sentence, nothing is written.
        OSError: a file can't be read or written.

    Example:
        >>> csv_to_npz("recordings", "motion.npz", options=BuildOptions(split={"test": 0.2}))
    """
    root, csv, labels = Path(folder), csv or CsvOptions(), labels or LabelOptions()
    if labels.column is not None:
        csv = replace(csv, label_column=labels.column)
    rule = labels.rule(root, csv_folder.SUFFIXES)
    recordings = read_csv_folder(root, csv, skip=labels.table)
    return build(recordings, root, Path(output), rule, options or BuildOptions())


def wav_to_npz(
    folder: str | Path,
    output: str | Path,
    front_end: FrontEndOptions | None = None,
    labels: LabelOptions | None = None,
    options: BuildOptions | None = None,
    *,
    standardize: bool = False,
    augmentation: SoundAugmentation | None = None,
) -> list[Part]:
    """Build data sets from a folder of sound files, one recording each: `kgated data wav`.

    Args:
        folder: searched with all folders in it for WAV, FLAC, OGG and AIFF files.
        output: as for `csv_to_npz`.
        front_end: how sound becomes frames.
        labels: where labels come from.
        options: windows, split, format.
        standardize: (x - mean) / deviation of the training data, as a part of the front end.
        augmentation: disturbed copies, for training alone.

    Returns:
        What was written.

    Raises:
        ValueError, OSError: as from `csv_to_npz`.
        ImportError: the extra `data` is missing; the message says what to install.
    """
    root, labels = Path(folder), labels or LabelOptions()
    front_end = front_end or FrontEndOptions()
    options = options or BuildOptions()
    if labels.column is not None:
        raise ValueError("--label-column is for CSV files: give --label-pattern or --label-table")
    rule = labels.rule(root, sound_folder.SUFFIXES)
    rate = front_end.rate or read_sound(files_in(root, sound_folder.SUFFIXES)[0])[0]
    reader = _Reader(FrontEnd(front_end.spec(rate)), augmentation)
    if augmentation is not None:
        options = replace(options, copies=augmentation.copies)
    return build(
        reader.read(root, front_end.rate),
        root,
        Path(output),
        rule,
        options,
        reader.front_end.spec,
        standardize=standardize,
        augment=None if augmentation is None else reader.copy,
    )


class _Reader:
    """Reads sound as frames, and augmented copies of the recording that was read last."""

    def __init__(self, front_end: FrontEnd, augmentation: SoundAugmentation | None) -> None:
        self.front_end, self.augmentation = front_end, augmentation
        self.noises = [] if augmentation is None else augmentation.noises(front_end.rate)
        self.count = 0

    def read(self, root: Path, rate: int | None) -> Iterator[Recording]:
        """The recordings of a folder."""
        for path, own, samples in read_sound_folder(root, rate):
            self.samples = samples
            self.count += 1
            yield self._recording(path, own)

    def _recording(self, path: Path, rate: int) -> Recording:
        spec, x = self.front_end.spec, self.front_end(self.samples)
        if not len(x):
            raise ValueError(
                f"{path}: {len(self.samples)} samples are fewer than one frame of {spec.window}: "
                "leave the file out"
            )
        centre, duration = spec.window / 2 / rate, len(self.samples) / rate
        return Recording(path, x, None, spec.period_s, spec.names(), centre, duration)

    def copy(self, recording: Recording, number: int) -> np.ndarray:
        """Disturbed frames of the recording that was read last."""
        assert self.augmentation is not None
        rate = self.front_end.rate
        draw = (self.count, number)
        return self.front_end(self.augmentation(self.samples, rate, self.noises, draw))
