"""Chooses the front end of a live run: the model's own, or `LogMel` by options."""

import math
from typing import Any

from kgated_edge.errors import EdgeError
from kgated_edge.format.manifest import Manifest
from kgated_edge.ingest.front_end import FrontEnd
from kgated_edge.ingest.logmel import LogMel


def front_end_for_audio(
    manifest: Manifest, file_rate: int | None, rate: int | None, **sound: Any
) -> LogMel | FrontEnd:
    """The front end that makes a model's frames from audio, which is resampled to its rate.

    Args:
        manifest: of a model whose frames are vectors.
        file_rate: samples per second in the header of the audio; None where it has none.
        rate: the option of that name; None where it was not given.
        sound: options `window`, `hop`, `low_hz` and `high_hz` that were given.

    Raises:
        EdgeError: options or a rate that differ from the model's, or a hop that differs from the
            sample period.
    """
    if manifest.front_end is None:
        return _by_options(manifest, rate or file_rate or LogMel.rate, sound)
    spec = manifest.front_end
    own = {**vars(spec), "high_hz": spec.rate / 2 if spec.high_hz is None else spec.high_hz}
    for name, value in ({"rate": rate} | sound).items():
        if value is not None and value != own[name]:
            raise EdgeError(
                f"`{name}` is {value}, the model's front end has {own[name]}: leave the option out"
            )
    return FrontEnd(spec)


def _by_options(manifest: Manifest, rate: int, sound: dict[str, Any]) -> LogMel:
    log_mel = LogMel(rate, mels=manifest.frame.shape[0], **sound)
    period = manifest.sample_period_s
    hop, hop_s = log_mel.hop, log_mel.hop / log_mel.rate
    if period is not None and not math.isclose(hop_s, period, rel_tol=1e-3):
        raise EdgeError(
            f"{hop} samples at {log_mel.rate} per second are {hop_s:g} s, the "
            f"model's sample period is {period:g} s: set `hop` as in training, or `rate`, "
            "to which the audio is then resampled"
        )
    return log_mel
