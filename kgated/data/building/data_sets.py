"""Builds data sets from recordings and label rules: windows, classes, split, files."""

import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from kgated_edge.evaluation.dataset_info import DataInfo, info_arrays
from kgated_edge.format.front_end import FrontEndSpec

from kgated.data.building.frame_store import FrameStore
from kgated.data.building.rows import Row, counts_of, labels_of, targets_of
from kgated.data.building.windows import frames_of, window_bounds
from kgated.data.dataset_writer import staging, write_dataset
from kgated.data.reading.label_rules import Rule, compiled, matched
from kgated.data.reading.recording import Recording
from kgated.data.splitting import TRAIN, assign_groups

WINDOW_LABELS = ("frame", "majority", "last")
FORMATS = ("npz", "npy")
Augment = Callable[[Recording, int], np.ndarray]
"""Returns the augmented frames of a recording, for the number of a copy; as many as it has."""


@dataclass(frozen=True)
class BuildOptions:
    """The options of a data set of recordings.

    Attributes:
        window, hop: in seconds, or in frames as "50f"; None: whole recordings, `window`.
        window_label: for labels per frame: "frame": one per frame; "majority" or "last": one per
            sequence.
        split: the fraction of each part beside "train"; empty: one file.
        group: what stays on one side: "recording", "folder", or a pattern with a group `group`.
        seed: of the split.
        classes: the class names in the order of the labels; None: sorted.
        format: "npz", or "npy" for frames in a file beside it that is mapped into memory.
        copies: disturbed copies of each recording for training.
    """

    window: str | float | None = None
    hop: str | float | None = None
    window_label: str = "frame"
    split: dict[str, float] | None = None
    group: str = "recording"
    seed: int = 0
    classes: tuple[str, ...] | None = None
    format: str = "npz"
    copies: int = 0

    def __post_init__(self) -> None:
        for name, known in (("window_label", WINDOW_LABELS), ("format", FORMATS)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"`{name}` must be one of {list(known)}. Received: {getattr(self, name)!r}"
                )
        if self.classes is not None and len(set(self.classes)) < len(self.classes):
            raise ValueError(f"--classes must name each class once. Got {','.join(self.classes)}")
        if self.hop is not None and self.window is None:
            raise ValueError("--hop needs a --window: give one, or leave --hop out")


@dataclass(frozen=True)
class Part:
    """A data set that was written.

    Attributes:
        path: of the `.npz` file.
        sequences, frames: how many.
        classes: how many sequences, or frames with labels per frame, of each class.
    """

    path: Path
    sequences: int
    frames: int
    classes: dict[str, int]


def outputs_of(output: Path, options: BuildOptions) -> dict[str, Path]:
    """The file of each part: OUT.npz, or OUT-train.npz, OUT-test.npz and so on.

    Raises:
        ValueError: `output` is no `.npz` file.
    """
    if output.suffix != ".npz":
        raise ValueError(f"the output must end in .npz. Received: {output}")
    if not options.split:
        return {TRAIN: output}
    return {part: output.with_stem(f"{output.stem}-{part}") for part in (TRAIN, *options.split)}


def build(
    recordings: Iterable[Recording],
    root: Path,
    output: Path,
    rule: Rule | None,
    options: BuildOptions,
    front_end: FrontEndSpec | None = None,
    *,
    standardize: bool = False,
    augment: Augment | None = None,
) -> list[Part]:
    """Write the data sets of recordings, all or none.

    Args:
        recordings: read one after another.
        root: the folder that they are in.
        output: the `.npz` file, or what the names of the parts begin with.
        rule: where labels come from; None: no labels.
        options: the rest.
        front_end: how sound became the frames.
        standardize: whether mean and scale of the training data go into the front end.
        augment: makes the disturbed copies for training.

    Raises:
        ValueError: data that can't be learned from; one sentence.
        OSError: a file can't be read or written.
    """
    parts = outputs_of(output, options)
    mapped = options.format == "npy"
    files = [path.with_suffix(".npy") for path in parts.values() if mapped]
    with (
        staging([*files, *parts.values()]) as folder,
        FrameStore(folder / "frames.bin" if mapped else None) as store,
    ):
        builder = _Builder(store, root, rule, options)
        for recording in recordings:
            builder.add(recording, augment)
        info = replace(builder.info(), front_end=front_end)
        assigned = builder.assign()
        if standardize:
            info = builder.standardized(info, assigned)
        return [
            builder.write(folder / path.name, path, part, assigned, info)
            for part, path in parts.items()
        ]


class _Builder:
    """Collects the sequences of a data set."""

    def __init__(
        self, store: FrameStore, root: Path, rule: Rule | None, options: BuildOptions
    ) -> None:
        self.store, self.root, self.rule, self.options = store, root, rule, options
        self.rows: list[Row] = []
        self.copies: list[Row] = []
        self.periods: list[float] = []
        self.names: tuple[str, ...] | None = None
        self.expression = None
        self.mean: np.ndarray | None = None
        self.scale: np.ndarray | None = None
        if options.group not in ("recording", "folder"):
            self.expression = compiled("group", options.group)

    def add(self, recording: Recording, augment: Augment | None) -> None:
        """Keep a recording, and its disturbed copies, which only training may take."""
        if not len(recording.x):
            raise ValueError(f"{recording.path}: there is no frame in it: leave the file out")
        label = None if self.rule is None else self.rule(recording)
        if recording.period_s is not None:
            self.periods.append(recording.period_s)
        self.names = self.names or recording.names
        group = self._group(recording)
        rows = self._rows(recording, self.store.append(recording.x), label, group)
        self.rows += rows
        for copy in range(self.options.copies if augment is not None else 0):
            assert augment is not None
            copied = self.store.append(augment(recording, copy))
            self.copies += self._rows(recording, copied, label, group)

    def _rows(
        self, recording: Recording, number: int, label: str | np.ndarray | None, group: str
    ) -> list[Row]:
        period, options = recording.period_s, self.options
        window = frames_of("--window", options.window, period)
        hop = frames_of("--hop", options.hop, period)
        return [
            Row(number, start, stop, self._label(label, start, stop), group)
            for start, stop in window_bounds(recording, window, hop)
        ]

    def _label(
        self, label: str | np.ndarray | None, start: int, stop: int
    ) -> str | np.ndarray | None:
        if not isinstance(label, np.ndarray):
            return label
        frames = label[start:stop]
        if self.options.window_label == "last":
            return str(frames[-1])
        if self.options.window_label == "majority":
            return Counter(frames.tolist()).most_common(1)[0][0]
        return frames

    def _group(self, recording: Recording) -> str:
        path = recording.path
        if self.expression is not None:
            return matched(self.expression, "group", path, self.root)
        if self.options.group == "folder":
            return path.parent.name
        # With a digest, since files of two folders may have the same name.
        digest = zlib.crc32(np.ascontiguousarray(recording.x).data)
        return f"{path.relative_to(self.root).as_posix()}#{digest:08x}"

    def info(self) -> DataInfo:
        """Names and period; refuses labels that nothing can be learned from."""
        period = float(np.median(self.periods)) if self.periods else None
        return DataInfo(self._class_names(), self.names, period)

    def _class_names(self) -> tuple[str, ...] | None:
        if self.rule is None:
            return None
        present = {label for row in self.rows for label in set(labels_of(row))}
        names = tuple(sorted(present)) if self.options.classes is None else self.options.classes
        if unknown := sorted(present - set(names)):
            raise ValueError(f"--classes lacks {unknown[0]!r}, which {self.root} has: add it")
        if len(present) < 2:
            raise ValueError(
                f"{self.root}: there is one class only, {present.pop()!r}: a classifier needs two "
                "or more; check where the labels come from, or give --no-labels"
            )
        return names

    def assign(self) -> np.ndarray:
        """The part of each row, (rows,)."""
        if not self.options.split:
            return np.full(len(self.rows), TRAIN)
        counted = [Counter(labels_of(row)) for row in self.rows]
        items = [(n, label, c) for n, row in enumerate(counted) for label, c in row.items()]
        index = np.array([n for n, *_ in items])
        groups = [self.rows[n].group for n in index]
        labels = [label for _, label, _ in items]
        weights = np.array([count for *_, count in items])
        parts = assign_groups(groups, labels, self.options.split, self.options.seed, weights)
        first = np.unique(index, return_index=True)[1]
        return parts[first]

    def standardized(self, info: DataInfo, assigned: np.ndarray) -> DataInfo:
        """The front end with mean and scale of the training data."""
        assert info.front_end is not None
        total = square = np.zeros(info.front_end.features)
        count = 0
        for row, part in zip(self.rows, assigned, strict=True):
            if part == TRAIN:
                x = self.store.read(row.recording, row.start, row.stop).astype(np.float64)
                total, square = total + x.sum(axis=0), square + (x * x).sum(axis=0)
                count += len(x)
        mean = total / count
        variance = square / count - mean * mean
        constant = variance <= 1e-12 * np.maximum(1.0, mean * mean)  # but for rounding
        deviation = np.sqrt(np.where(constant, 1.0, variance))
        self.mean, self.scale = mean, 1 / deviation
        spec = replace(info.front_end, mean=tuple(mean.tolist()), scale=tuple(self.scale.tolist()))
        return replace(info, front_end=spec)

    def write(
        self,
        staged: Path,
        path: Path,
        part: str,
        assigned: np.ndarray,
        info: DataInfo,
    ) -> Part:
        """Write one part."""
        rows = [row for row, own in zip(self.rows, assigned, strict=True) if own == part]
        if part == TRAIN:
            groups = {row.group for row in rows}
            rows += [row for row in self.copies if row.group in groups]
        lengths = np.array([row.stop - row.start for row in rows])
        arrays = {"groups": np.array([row.group for row in rows]), **info_arrays(info)}
        if info.class_names is not None:
            arrays["y"] = targets_of(rows, lengths, info.class_names)
        mapped = self.options.format == "npy"
        write_dataset(staged, lambda: map(self._frames, rows), lengths, arrays, mapped)
        return Part(path, len(rows), int(lengths.sum()), counts_of(rows))

    def _frames(self, row: Row) -> np.ndarray:
        x = self.store.read(row.recording, row.start, row.stop)
        if self.mean is None:
            return x
        return ((x.astype(np.float64) - self.mean) * self.scale).astype(np.float32)
