"""How recordings are read: the options that all commands on recordings share."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from kgated_edge.errors import EdgeError
from kgated_edge.ingest.csv_layout import CsvColumns
from kgated_edge.ingest.input_counts import HOLD, REFUSE, InputCounts
from kgated_edge.ingest.sources import InputOptions

SOUND = ("window", "hop", "low_hz", "high_hz")
AUDIO_FORMS = ("wav", "pcm")
LABELLED_POLICIES = (REFUSE, HOLD)
"""Where events are labelled by time, a frame that is left out would move those after it."""


@dataclass(frozen=True)
class Reading:
    """The options, as the command line has them; None where one was not given.

    Attributes:
        columns: "A,B": columns of CSV, by name, or number from 1.
        time_column: column of CSV with the time.
        on_bad_frame: one of `POLICIES`.
        rate: samples per second of the front end.
        input_rate: samples per second of "pcm", where they differ from `rate`.
        window, hop: samples of a frame of audio, and from frame to frame.
        low_hz, high_hz: limits of the bands.
        counts: what was wrong with the input, updated while it is read.
    """

    columns: str | None = None
    time_column: str | None = None
    on_bad_frame: str = REFUSE
    rate: int | None = None
    input_rate: int | None = None
    window: int | None = None
    hop: int | None = None
    low_hz: float | None = None
    high_hz: float | None = None
    counts: InputCounts = field(default_factory=InputCounts)

    def check(self, forms: Collection[str]) -> None:
        """Refuses options for other formats than those of the input.

        Args:
            forms: of `FORMATS`, those that are read.

        Raises:
            EdgeError: options of audio without audio, or of CSV without CSV.
        """
        read = " and ".join(sorted(forms))
        is_audio = any(form in AUDIO_FORMS for form in forms)
        if not is_audio and (self.sound or self.rate or self.input_rate):
            raise EdgeError(
                f"--rate, --window, --hop, --low-hz and --high-hz are for audio, not {read}; "
                "windows in seconds are written with a point, such as --window 2.0, for `live`"
            )
        if "csv" not in forms and (self.columns is not None or self.time_column is not None):
            raise EdgeError(f"--columns and --time-column are for csv, not {read}: leave them out")

    @property
    def sound(self) -> dict[str, Any]:
        """The options of the front end that were given."""
        return {n: value for n in SOUND if (value := getattr(self, n)) is not None}

    def block_options(self) -> dict[str, Any]:
        """Arguments of `live_blocks`."""
        names = None if self.columns is None else self.columns.split(",")
        columns = CsvColumns(names, self.time_column)
        inputs = InputOptions(columns, self.on_bad_frame, self.counts, self.input_rate)
        return {"options": inputs, "rate": self.rate, **self.sound}


def check_labelled(reading: Reading, forms: Collection[str]) -> None:
    """Refuses options that do not fit recordings with labels by their times.

    Args:
        reading: how they are read.
        forms: their formats.

    Raises:
        EdgeError: as from `Reading.check`; bad frames that are skipped, or an unknown policy.
    """
    if reading.on_bad_frame not in LABELLED_POLICIES:
        raise EdgeError(
            f"--on-bad-frame must be one of {list(LABELLED_POLICIES)} for recordings, got "
            f"{reading.on_bad_frame!r}: a frame left out would move the others from their labels"
        )
    reading.check(forms)
