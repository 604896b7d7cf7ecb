"""Two further data sets, contained in the package sktime."""

from functools import cache
from typing import Any

import numpy as np

from kgated.data import DataSet, SequenceData, pad
from kgated.optional_imports import from_demo

APPLIANCES = 11
SAMPLES = 20  # of PLAID in a frame: four periods of the mains at 300 Hz
LEAST = 1e-3  # amperes, added to a frame's RMS value: some recordings are zero
MOTIONS = ("badminton", "running", "standing", "walking")


@cache
def plaid() -> DataSet:
    """PLAID: eleven kinds of appliances, told apart by their current (Gao et al. 2014).

    It has 537 training and 537 test recordings of 100 to 1344 samples of the current, from
    milliamperes to hundreds of amperes. A frame has the amplitudes of the discrete Fourier
    transform of 20 samples, divided by their RMS value, and the decimal logarithm of that value.
    """
    load = from_demo("sktime.datasets").load_plaid
    parts = [_frames(*load(split=part, return_type="nested_univ")) for part in ("TRAIN", "TEST")]
    labels = tuple(f"appliance {n}" for n in range(APPLIANCES))
    return DataSet("PLAID", parts[0], parts[1], labels, SAMPLES / 300.0)


@cache
def basic_motions() -> DataSet:
    """BasicMotions: four activities of the wearer of a watch (UEA archive, Bagnall et al. 2018).

    It has 40 training and 40 test recordings of 100 frames with 6 readings.
    """
    load = from_demo("sktime.datasets").load_basic_motions
    parts = []
    for part in ("TRAIN", "TEST"):
        x, y = load(split=part, return_type="numpy3D")
        frames = [series_item.T.astype(np.float32) for series_item in x]
        parts.append(pad(frames, np.searchsorted(MOTIONS, y).astype(np.int64)))
    return DataSet("BasicMotions", parts[0], parts[1], MOTIONS, 0.1)


def _frames(table: Any, y: Any) -> SequenceData:
    """The series in the first column of a table as frames of 20 samples; a remainder is dropped."""
    series = [np.asarray(series_item, np.float32) for series_item in table.iloc[:, 0]]
    full = [
        series_item[: len(series_item) // SAMPLES * SAMPLES].reshape(-1, SAMPLES)
        for series_item in series
    ]
    return pad([_spectra(series_item) for series_item in full], np.asarray(y).astype(np.int64))


def _spectra(samples: np.ndarray) -> np.ndarray:
    """(n, 20) samples to (n, 12): eleven relative amplitudes, and the logarithm of the size.

    All are of the order of one, because an integer input has one scale for all features.
    """
    effective = np.sqrt(np.mean(samples**2, axis=1, keepdims=True)) + LEAST
    amplitudes = np.abs(np.fft.rfft(samples / effective, axis=1)) * (2.0 / SAMPLES)
    return np.concatenate([amplitudes, np.log10(effective)], axis=1, dtype=np.float32)
