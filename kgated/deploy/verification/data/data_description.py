"""The description of the frames from the data set and the model: names, period, front end."""

from collections.abc import Sequence
from pathlib import Path

import keras
from kgated_edge.evaluation.dataset import SequenceData, npz_info
from kgated_edge.evaluation.dataset_info import DataInfo
from kgated_edge.format.manifest import TensorSpec

from kgated.deploy.verification.data.sequences import Calibration
from kgated.models.sequence import data_info


def describe(
    options: DataInfo,
    model: keras.Model,
    calibration: Calibration,
    frames: tuple[TensorSpec, ...],
    output: TensorSpec,
) -> DataInfo:
    """The entries given, and where they were not given those of the model, else of the calibration.

    Of the calibration data only entries are taken that fit the shapes of the model.

    Args:
        options: the options of the conversion.
        model: to be converted.
        calibration: the calibration data.
        frames: one frame of each input.
        output: one result of the first output.

    Raises:
        ValueError: a sample period that differs from that of the front end.
    """
    own, data = data_info(model), _fitting(calibration_info(calibration), frames, output)
    front_end = options.front_end or own.front_end or data.front_end
    period = options.sample_period_s or own.sample_period_s or data.sample_period_s
    if front_end is not None:
        period = period or front_end.period_s
        if abs(period - front_end.period_s) > 1e-3 * front_end.period_s:
            raise ValueError(
                f"`sample_period_s` must be that of the model's front end, {front_end.period_s:g}. "
                f"Received: {period:g}; leave it out"
            )
        period = front_end.period_s
    return DataInfo(
        _first(options.class_names, own.class_names, data.class_names),
        _first(options.feature_names, own.feature_names, data.feature_names),
        period,
        front_end,
    )


def calibration_info(calibration: Calibration) -> DataInfo:
    """The description in the calibration data; empty for arrays."""
    if isinstance(calibration, str | Path):
        return npz_info(calibration)
    return calibration.info if isinstance(calibration, SequenceData) else DataInfo()


def _fitting(info: DataInfo, frames: tuple[TensorSpec, ...], output: TensorSpec) -> DataInfo:
    """The entries that fit the shapes of the model."""
    is_frame = len(frames) == 1 and len(frames[0].shape) == 1
    size = frames[0].size if is_frame else 0
    names, features, spec = info.class_names, info.feature_names, info.front_end
    return DataInfo(
        names if names and len(names) == output.shape[-1] else None,
        features if features and len(features) == size else None,
        info.sample_period_s,
        spec if spec and spec.features == size else None,
    )


def _first(*values: Sequence[str] | None) -> tuple[str, ...] | None:
    return next((tuple(value) for value in values if value is not None), None)
