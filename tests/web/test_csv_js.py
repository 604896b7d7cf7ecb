"""The page reads numbers and times of a CSV file as the device does."""

import io
import re

import numpy as np
import pytest
from kgated_edge.errors import DataError
from kgated_edge.format.tensor_spec import TensorSpec
from kgated_edge.ingest.csv_layout import CsvColumns
from kgated_edge.ingest.input_counts import REFUSE, InputCounts
from kgated_edge.ingest.sources import InputOptions, frames_of

pytestmark = pytest.mark.slow
FRAMES = """
    const {csvFrames} = await import("/page/csv.js");
    return cases.map(({text, spec, ...trained}) => {
      try { return csvFrames(text, [spec], null, trained).map(frame => Array.from(frame)); }
      catch (error) { return error.message; }
    });
"""
VECTOR, TOKEN = TensorSpec("frame", (2,)), TensorSpec("frame", (), "int32", vocabulary=9)


def timed(name, times, header="a,b"):
    """Lines with a time column."""
    rows = [f"{time},{n},{n + 1}" for n, time in enumerate(times)]
    return "\n".join([f"{name},{header}", *rows])


def dates(step_us):
    moments = np.datetime64("2026-11-30T10:00:00") + np.arange(60) * np.timedelta64(step_us, "us")
    return [str(moment) for moment in moments]


STEPS = np.arange(60)
UNEVEN = np.delete(STEPS, [7, 8, 9, 20])  # lost frames are no other period
NAMES = ("time", "Time (ms)", "time_us", "t[ns]", "Timestamp, s", "seconds", "t_min", "t (min)")
TIMED = [
    *[timed(name.replace(",", ""), STEPS * step) for name in NAMES for step in (0.02, 20, 20_000)],
    *[timed("time", STEPS * 0.02 + start) for start in (0, 1.7e9)],
    *[timed("timestamp", 1_700_000_000_000 + STEPS * step) for step in (20, 21, 40)],
    *[timed("datetime", dates(step)) for step in (20_000, 500, 40_000)],
    *[timed("time", UNEVEN * step) for step in (0.02, 0.03)],
    *[timed("time", STEPS[:count] * 0.5) for count in (49, 50)],
    timed("time", [1] * 60),
    timed("time", ["soon"] * 60),
    timed("time_ms", STEPS * 40, "b,a"),
    timed("time_ms,note", [f"{40 * n},x" for n in STEPS], "b,a"),
]
NUMBERS = ["1,0x10\n", "1,1_0\n", "nan,nan\n1,2\n", "inf,1\n", "1,+2.e1\n", "1,.5E-1\n", "1,.\n"]
TOKENS = ["3\n", "3.0\n", "1e0\n", "4294967297\n", "+3\n", "-1\n"]


def frames_or_rule(text, spec, names, period):
    """What the device reads, or the rule that it names."""
    columns = CsvColumns(trained=names, period_s=period)
    options = InputOptions(columns, REFUSE, InputCounts())
    stream = io.BytesIO(text.encode())
    try:
        frames = [np.ravel(x).tolist() for x in frames_of(stream, "csv", spec, None, options)]
        # The model refuses these frames on the device, the page their lines.
        return frames if np.isfinite(frames).all() else "a line that is no frame"
    except DataError as error:
        return rule_of(str(error))


def rule_of(message):
    """The part of a message that the page has, too."""
    if "must hold" in message:
        return "a line that is no frame"
    rule = re.split(r":|, got", message)[0]
    return re.sub(r"[\d.]+(e[+-]\d+)?(?= ms)", lambda number: str(float(number[0])), rule)


@pytest.mark.parametrize(
    ("texts", "spec", "names"),
    [
        (TIMED, VECTOR, None),
        (TIMED, VECTOR, ["b", "a"]),
        (NUMBERS, VECTOR, None),
        (TOKENS, TOKEN, None),
    ],
)
def test_numbers_and_times_are_read_as_on_the_device(run_js, texts, spec, names):
    cases = [
        {"text": text, "spec": spec.to_plain(), "names": names, "period": 0.02} for text in texts
    ]
    read = [rule_of(x) if isinstance(x, str) else x for x in run_js(FRAMES, cases=cases)]
    expected = [frames_or_rule(text, spec, names, 0.02) for text in texts]
    assert dict(zip(texts, read, strict=True)) == dict(zip(texts, expected, strict=True))
    assert {type(x) for x in expected} == {str, list}
