"""Data sets of text: each text becomes ids by the vocabulary of the model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kgated_edge.errors import DataError, FrameError
from kgated_edge.evaluation.arrays import Data, arrays_by_name, as_sequences, description_arrays
from kgated_edge.evaluation.dataset import SequenceData
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.tensor_spec import Array
from kgated_edge.format.vocabulary import Vocabulary
from kgated_edge.text.codec import encode_all


def load_for(manifest: Manifest, data: Data) -> SequenceData:
    """Reads sequences for a model; texts become ids where it has a vocabulary.

    Args:
        manifest: of the model.
        data: an `.npz` or `.npy` file, arrays by name (`x`, `lengths`, `y`), or sequences. `x` may
            be an array of texts (N,), or of tokens (N, T) where the vocabulary takes such.

    Raises:
        DataError: as from `load_npz`; a text that the vocabulary has no ids for.
    """
    names = tuple(frame.name for frame in manifest.frames)
    several = names if len(names) > 1 else ()
    return encode_data(data, names, manifest.vocabularies, several, manifest.single)


def encode_data(
    data: Data,
    names: Sequence[str],
    vocabularies: Mapping[str, Vocabulary],
    several: Sequence[str] = (),
    single: Sequence[str] = (),
    *,
    targets: bool = True,
) -> SequenceData:
    """`load_for` with the facts of the manifest one by one.

    Args:
        data: as for `load_for`.
        names: of the model's inputs.
        vocabularies: by input.
        several: `names` where there is more than one.
        single: inputs with one value per sequence.
        targets: whether `y` is read.

    Raises:
        DataError: as from `load_for`.
    """
    if isinstance(data, str | Path):
        arrays = read_texts(data) if vocabularies else None
        if arrays is None:
            return as_sequences(data, several, single, targets=targets)
        try:
            arrays = _with_ids(arrays, names, vocabularies)
            return as_sequences(arrays, several, single, targets=targets)
        except DataError as error:
            raise DataError(f"{data}: {error}") from None
    arrays = {name: _as_texts(value) for name, value in arrays_by_name(data).items()}
    if not any(_holds_text(value) for name, value in arrays.items() if name != "y"):
        if isinstance(data, SequenceData) and (data.inputs is None) == (len(names) > 1):
            return data  # of other inputs than the model's, which the caller refuses
        return as_sequences(data, several, single, targets=targets)
    arrays = _with_ids(arrays, names, vocabularies) | description_arrays(data)
    return as_sequences(arrays, several, single, targets=targets)


def _as_texts(value: Any) -> Any:
    """A list of texts as an array; anything else as it is."""
    is_text = isinstance(value, list | tuple) and len(value) > 0
    return np.array(value) if is_text and all(isinstance(x, str | bytes) for x in value) else value


def read_texts(path: str | Path) -> dict[str, Array] | None:
    """The arrays of a file with texts; None for one without, or that can't be read."""
    try:
        with Path(path).open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                arrays = {"x": archive}
            else:
                arrays = {name: archive[name] for name in archive.files}
    except Exception:  # `load_npz` says what is wrong with it
        return None
    texts = {name for name, array in arrays.items() if _holds_text(array)} - {"y", "lengths"}
    return arrays if texts else None


def _with_ids(
    arrays: Mapping[str, Any], names: Sequence[str], vocabularies: Mapping[str, Vocabulary]
) -> dict[str, Any]:
    """The arrays with ids in place of texts, all as long as the longest, and their lengths."""
    changed, counts = dict(arrays), list[Array]()
    for name, array in arrays.items():
        source = names[0] if name == "x" and len(names) == 1 else name
        if name in ("y", "lengths") or not _holds_text(array):
            continue
        if source not in vocabularies:
            raise DataError(
                f"`{name}` holds text, and the model has no vocabulary for it: save ids, or "
                "convert the model with `vocabulary`"
            )
        try:
            changed[name], lengths = encode_all(vocabularies[source], array)
        except FrameError as error:
            raise DataError(f"`{name}`: {error}") from None
        if vocabularies[source].split != "given":
            counts.append(lengths)
    if counts:
        changed["lengths"] = np.max(counts, axis=0)
        longest = int(changed["lengths"].max())
        for name in arrays:
            fill = vocabularies.get(names[0] if name == "x" and len(names) == 1 else name)
            if _holds_text(arrays[name]) and fill is not None:
                width = ((0, 0), (0, longest - changed[name].shape[1]))
                changed[name] = np.pad(changed[name], width, constant_values=fill.padding or 0)
    return changed


def _holds_text(array: Any) -> bool:
    if not isinstance(array, np.ndarray) or array.dtype.kind != "O":
        return isinstance(array, np.ndarray) and array.dtype.kind in "US"
    return bool(array.size) and all(isinstance(x, str | bytes) for x in array.flat)
