"""Fills the options of a conversion from what the model or the calibration data say."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import keras
from kgated_edge.evaluation.dataset import SequenceData, npz_info
from kgated_edge.evaluation.dataset_info import DataInfo
from kgated_edge.format.manifest import TensorSpec

from kgated.deploy.metadata import ConversionOptions
from kgated.deploy.verification.sequences import Calibration
from kgated.models.sequence import data_info


def describe_options(
    options: ConversionOptions,
    model: keras.Model,
    frames: tuple[TensorSpec, ...],
    output: TensorSpec,
) -> ConversionOptions:
    """The options, with labels, period, names and front end where they were not given.

    An option counts before the model, and the model before the calibration data, of which only
    entries are taken that fit the shapes of the model.

    Args:
        options: as given.
        model: to be converted.
        frames: one frame of each input.
        output: one result of the first output.

    Raises:
        ValueError: a sample period that differs from that of the front end.
    """
    own, data = data_info(model), _fitting(calibration_info(options.calibration), frames, output)
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
    return replace(
        options,
        labels=_first(options.labels, own.class_names, data.class_names),
        feature_names=_first(options.feature_names, own.feature_names, data.feature_names),
        front_end=front_end,
        sample_period_s=period,
    )


def calibration_info(calibration: Calibration) -> DataInfo:
    """What calibration data say; nothing where they are arrays."""
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


def _first(*values: Sequence[str] | None) -> Sequence[str] | None:
    return next((value for value in values if value is not None), None)
