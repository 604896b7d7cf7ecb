"""An example data set of speech, without a download."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from kgated_edge.evaluation.dataset import SequenceData

from kgated.data.sequences import pad
from kgated.optional_imports import from_demo

SPEAKERS = 9
# Windows of 25.6 ms, one every 6.4 ms (the data set's own description in the UCI archive).
SAMPLE_PERIOD_S = 0.0064


@dataclass(frozen=True, eq=False)
class DataSet:
    """Training and test sequences with their description.

    Attributes:
        name: what it is called.
        train: the sequences to learn from.
        test: sequences that nothing may be chosen by.
        labels: the name of each class.
        sample_period_s: seconds from one frame to the next.
    """

    name: str
    train: SequenceData
    test: SequenceData
    labels: tuple[str, ...]
    sample_period_s: float


def japanese_vowels() -> DataSet:
    """JapaneseVowels: identify one of nine speakers by the vowels /ae/ (Kudo et al. 1999).

    270 utterances to train on and 370 to test, of 7 to 29 frames with 12 cepstrum coefficients
    each, y in 0..8. Read from the copy that comes with the package sktime, without a network.

    Raises:
        ImportError: sktime is not installed.
    """
    load = from_demo("sktime.datasets").load_japanese_vowels
    train, test = (
        _from_tables(*load(split=part, return_type="df-list")) for part in ("TRAIN", "TEST")
    )
    labels = tuple(f"speaker {n + 1}" for n in range(SPEAKERS))
    return DataSet("JapaneseVowels", train, test, labels, SAMPLE_PERIOD_S)


def _from_tables(tables: list[Any], y: npt.NDArray[Any]) -> SequenceData:
    """Convert tables (frames, features) and labels "1".."9" to sequences."""
    sequences = [table.to_numpy(dtype=np.float32) for table in tables]
    return pad(sequences, y.astype(np.int64) - 1)
