"""A folder of WAV files as sequences for a model, by the front end in its manifest."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kgated_edge.errors import DataError
from kgated_edge.evaluation.dataset import SequenceData, from_arrays
from kgated_edge.evaluation.dataset_info import DataInfo
from kgated_edge.format.manifest import Manifest
from kgated_edge.ingest.front_end import FrontEnd
from kgated_edge.ingest.logmel import Frames
from kgated_edge.ingest.wav_files import read_wav


def load_wav_folder(folder: str | Path, manifest: Manifest) -> SequenceData:
    """Reads all WAV files below a folder; the folder of each is its label.

    Args:
        folder: FOLDER/CLASS/.../NAME.wav; files directly in it have no label.
        manifest: of the model that the frames are for.

    Returns:
        a sequence per file, in the order of the paths. For a model of a fixed length each recording
        is cut into windows of that length.

    Raises:
        DataError: the model has no front end, there are no files, a file cannot be read, has
            another rate or is too short, only some have labels, or one that the model lacks.
    """
    root = Path(folder)
    if manifest.front_end is None:
        raise DataError(
            f"{root}: the model has no front end in its manifest, so it does not say how sound "
            "becomes frames: train on a data set of `kgated data wav`, or give an .npz file"
        )
    paths = sorted(p for p in root.rglob("*") if p.suffix.lower() == ".wav" and p.is_file())
    if not paths:
        raise DataError(f"{root}: there are no WAV files in this folder: check the path")
    front_end = FrontEnd(manifest.front_end)
    sequences: list[Frames] = []
    labels: list[str] = []
    for path in paths:
        windows = _windows(_frames(path, front_end), manifest)
        sequences += windows
        labels += [_label(path.relative_to(root))] * len(windows)
    return _padded(root, sequences, labels, manifest)


def _frames(path: Path, front_end: FrontEnd) -> Frames:
    rate, samples = read_wav(path)
    check_rate(path, rate, front_end.rate)
    frames = front_end(samples)
    if not len(frames):
        raise DataError(
            f"{path}: {len(samples)} samples are fewer than one frame of {front_end.spec.window}: "
            "leave the file out"
        )
    return frames


def check_rate(path: str | Path, rate: int, expected: int) -> None:
    """Raises `DataError`, with the command to convert, for a file of another rate."""
    if rate != expected:
        raise DataError(
            f"{path}: the file has {rate} samples per second, the model's front end takes "
            f"{expected}: convert it by `sox {path} -r {expected} OUT.wav`"
        )


def _windows(frames: Frames, manifest: Manifest) -> list[Frames]:
    """The recording itself, or windows of the fixed length that the model takes."""
    size = manifest.frames_per_step
    if manifest.mode != "sequence" or len(frames) <= size:
        return [frames]
    return [frames[n : n + size] for n in range(0, len(frames) - size + 1, size)]


def _label(path: Path) -> str:
    return path.parts[0] if len(path.parts) > 1 else ""


def _padded(
    root: Path, sequences: Sequence[Frames], labels: list[str], manifest: Manifest
) -> SequenceData:
    if "" in labels and set(labels) != {""}:
        raise DataError(f"{root}: some files have a folder for a label, some have none: sort them")
    lengths = np.array([len(sequence) for sequence in sequences])
    x = np.zeros((len(sequences), lengths.max(), sequences[0].shape[1]), np.float32)
    for row, sequence in zip(x, sequences, strict=True):
        row[: len(sequence)] = sequence
    arrays = {"x": x, "lengths": lengths}
    if manifest.labels is not None and labels[0]:
        if unknown := sorted(set(labels) - set(manifest.labels)):
            raise DataError(
                f"{root}: the folder {unknown[0]!r} is none of the model's labels "
                f"{list(manifest.labels)}: rename it"
            )
        arrays["y"] = np.array([manifest.labels.index(label) for label in labels])
    elif labels[0]:
        arrays["y"] = np.unique(labels, return_inverse=True)[1]
    data = from_arrays(arrays)
    info = DataInfo(manifest.labels, manifest.feature_names, None, manifest.front_end)
    return SequenceData(data.x, data.lengths, data.y, info=info)
