"""CSV as sensors and spreadsheets write it: right numbers, or one sentence."""

import numpy as np
import pytest

from kgated.data.reading.csv_folder import CsvOptions, read_csv


@pytest.fixture
def read(tmp_path):
    def read(text, **options):
        path = tmp_path / "r.csv"
        path.write_bytes(text.encode())
        return read_csv(path, CsvOptions(**options))

    return read


def table(names, times, *columns):
    lines = [",".join(map(str, row)) for row in zip(times, *columns, strict=True)]
    return "\n".join([names, *lines]) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\r\ntime;ax\r\n0,00;9,810\r\n0,02;-1,5\r\n",
        'time,"ax\n(g)"\n0,9.81\n0.02,-1.5\n',
        "time,a\u2028x\r0,9.81\r0.02,-1.5\r",
        "time\tax\n0,00\t9,810\n0,02\t-1,5\n",
        'time,ax\n"0,00","9,810"\n"0,02","-1,5"\n',
    ],
)
def test_spreadsheets_and_quoted_line_ends(read, text):
    recording = read(text)
    np.testing.assert_array_equal(recording.x, np.float32([[9.81], [-1.5]]))
    assert recording.period_s == 0.02


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('time,ax,ay\n0,9.81,"1,000"\n1,9.82,"1,500"\n', "'1,000' beside '9.81' may have"),
        ('time,ax\n0,"1,000"\n1,"1,500"\n', "'1,000' may have a decimal comma or a separator"),
        ("time;ax;ay\n0;9,81;1.000\n1;9,82;1.500\n", "'9,81' beside '1.000' may have"),
        ('time,"ax\n(g)",ay\n0,1,2\n1,1,2\n2,1\n', "line 5 has 2 cells"),
        ("nan,nan\n1,2\n3,4\n", "line 1, column 'column 1' holds 'nan'"),
        (",\n1,2\n3,4\n", "line 1, column 'column 1' holds an empty cell"),
        ("Device: X12\nSerial,77\ntime,ax\n0,1\n", "line 2 has 2 cells, line 1 has 1: mend the"),
        ("time,ax,label\n0,1,0\n1,1,1\n", "'label' is named as labels and would be a feature"),
    ],
)
def test_numbers_that_may_be_misread_are_refused(read, text, message):
    with pytest.raises(ValueError, match=message) as info:
        read(text)
    assert "\n" not in str(info.value)


def test_rounded_times_give_the_true_period(read):
    times = np.rint(np.arange(600) * 1000 / 60).astype(int)
    assert read(table("time_ms,ax", times, times)).period_s == pytest.approx(1 / 60, rel=1e-4)
    times = np.floor(np.arange(600) * 2.5).astype(int)
    assert read(table("time_ms,ax", times, times)).period_s == pytest.approx(1 / 400, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("Elapsed Time (s)", 1),
        ("TimeStamp(ms)", 1e-3),
        ("Time, min", 60),
        ("unix_time", 1),
        ("epoch_us", 1e-6),
        ("Date/Time", 1),
    ],
)
def test_times_are_found_by_their_names_and_values(read, name, factor):
    recording = read(table(f'"{name}",ax', range(10, 20), range(10)))
    assert recording.names == ("ax",)
    assert recording.period_s == pytest.approx(factor)


@pytest.mark.parametrize("name", ["response_time", "t_min"])
def test_a_feature_with_a_time_in_its_name_stays(read, name):
    assert read(table(f"time,{name}", range(4), [3, 1, 2, 1])).names == (name,)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (table("timestamp,elapsed_ms,ax", [1, 2], [1, 2], [0, 0]), {}, "'timestamp' and 'elapsed"),
        (table("time_s,ax", [1772366400000, 1772366400020], [0, 0]), {}, "give --time-unit ms"),
        (table("time,uptime,ax", [0, 1], [5, 6], [0, 0]), {}, "'uptime' is named as a time and"),
        (
            table("time,ax", [0, 1, 2, 5000], range(4)),
            {"rate": 1},
            "line 5: the time steps by 4998",
        ),
        (table("t,ax", np.r_[:50, 50:120:1.4], range(100)), {}, "the period changes: give --rate"),
        (
            table("time,ax", ["2026-03-01T00:00:00Z", "2026-03-01T00:00:01"], [0, 0]),
            {},
            "line 3, column 'time': some dates have a time zone",
        ),
    ],
)
def test_times_that_may_be_misread_are_refused(read, text, options, message):
    with pytest.raises(ValueError, match=message):
        read(text, **options)


def test_resampling_has_no_transients_at_the_ends(read):
    times = np.arange(400) / 100
    gravity = 9.81 + 0.1 * np.sin(2 * np.pi * times)
    recording = read(table("time,ax,ay", times, gravity, [9.81] * 400), rate=50)
    assert len(recording.x) == 200
    np.testing.assert_allclose(recording.x[:, 1], 9.81, rtol=1e-6)
    np.testing.assert_allclose(recording.x[:, 0], gravity[::2], atol=0.01)


def test_labels_stay_with_their_rows_where_times_are_decimal(read):
    times = np.round(np.arange(200) * 0.02, 2)
    labels = ["a"] * 100 + ["b"] * 100
    recording = read(table("time,ax,what", times, range(200), labels), rate=50, label_column="what")
    assert recording.frame_labels.tolist() == labels
