"""CSV files as recordings: every way of writing them down, and every refusal in one sentence."""

import re

import numpy as np
import pytest
from csv_files import folder, rows, write

from kgated.data import BuildOptions, CsvOptions, LabelOptions, csv_to_npz, load_npz
from kgated.data.reading.csv_folder import read_csv
from kgated.data.reading.csv_table import read_table

EXPECTED = np.array([[n + 0.5, -n / 10] for n in range(6)], np.float32)


@pytest.mark.parametrize(
    "text",
    [
        rows(),
        rows(";"),
        rows(";", ","),
        rows("\t", ","),
        rows("|"),
        rows(" "),
        rows().replace("\n", ",\n"),
        "\ufeff" + rows().replace("\n", "\r\n"),
        "# a comment\n\n" + rows().replace("\n", "\n\n"),
        rows().replace("time", "Time (s)"),
        rows(header="time,ax,ay").replace("ax", '"ax"'),
    ],
)
def test_delimiter_decimal_sign_and_header_are_found(tmp_path, text):
    recording = read_csv(write(tmp_path / "a.csv", text), CsvOptions())
    assert recording.names == ("ax", "ay")
    assert recording.period_s == pytest.approx(0.02)
    np.testing.assert_array_equal(recording.x, EXPECTED)


def test_without_a_header_columns_have_numbers(tmp_path):
    path = write(tmp_path / "a.csv", rows(header=""))
    recording = read_csv(path, CsvOptions(columns=("2-3",), time="1"))
    np.testing.assert_array_equal(recording.x, EXPECTED)
    assert recording.period_s == pytest.approx(0.02)
    assert read_csv(path, CsvOptions()).x.shape == (6, 3)
    assert read_csv(path, CsvOptions()).period_s is None


@pytest.mark.parametrize(
    ("name", "times", "unit"),
    [
        ("t_ms", [0, 20, 40], None),
        ("timestamp", [1.7e12, 1.7e12 + 20, 1.7e12 + 40], None),
        ("t", [0, 20000, 40000], "us"),
        ("date", ["2026-01-01T00:00:00", "2026-01-01 00:00:00.02", "2026-01-01T00:00:00.04"], None),
    ],
)
def test_the_period_comes_from_any_time_column(tmp_path, name, times, unit):
    lines = [f"{name},x", *(f"{time},1" for time in times)]
    recording = read_csv(write(tmp_path / "a.csv", "\n".join(lines)), CsvOptions(time_unit=unit))
    assert recording.period_s == pytest.approx(0.02)
    assert recording.names == ("x",)


def test_columns_and_the_index_of_pandas(tmp_path):
    text = ",time,b,a,label\n" + "".join(f"{n},{n / 50},{n},{-n},walk\n" for n in range(5))
    path = write(tmp_path / "a.csv", text)
    recording = read_csv(path, CsvOptions(columns=("a", "3")))
    assert recording.names == ("a", "b")
    assert recording.x[2].tolist() == [-2, 2]
    recording = read_csv(path, CsvOptions(label_column="label"))
    assert recording.names == ("b", "a")
    assert recording.frame_labels.tolist() == ["walk"] * 5


def test_resampling_keeps_a_slow_sine_and_follows_jitter(tmp_path, rng):
    t = np.arange(400) / 100 + rng.uniform(-0.002, 0.002, 400)
    lines = ["time,x", *(f"{time:.5f},{np.sin(2 * np.pi * time):.6f}" for time in t)]
    recording = read_csv(write(tmp_path / "a.csv", "\n".join(lines)), CsvOptions(rate=50))
    assert recording.period_s == 0.02
    times = t[0] + np.arange(len(recording.x)) * 0.02
    error = recording.x[:, 0] - np.sin(2 * np.pi * times)
    assert np.abs(error[10:-10]).max() < 0.02


def test_windows_and_groups_of_a_folder(tmp_path):
    options = BuildOptions(window=1.0, hop="25f", split={"test": 0.25}, group=r"(p\d)_")
    parts = csv_to_npz(folder(tmp_path), tmp_path / "out.npz", options=options)
    assert [part.path.name for part in parts] == ["out-train.npz", "out-test.npz"]
    train, test = (load_npz(part.path) for part in parts)
    assert train.x.shape == (2 * 6 * 3, 50, 2)
    assert test.x.shape == (2 * 2 * 3, 50, 2)
    assert not set(train.groups) & set(test.groups)
    assert np.bincount(test.y).tolist() == [6, 6]
    assert train.info.class_names == ("run", "walk")
    assert train.info.feature_names == ("ax", "ay")
    assert train.info.sample_period_s == 0.02
    first = read_csv(
        tmp_path / "in" / "run" / f"{test.groups[0]}_{test.groups[0][1]}.csv", CsvOptions()
    )
    assert (test.x[1] == first.x[25:75]).all()


def test_mapped_files_hold_the_same(tmp_path):
    root = folder(tmp_path, count=3)
    csv_to_npz(root, tmp_path / "a.npz")
    csv_to_npz(root, tmp_path / "b.npz", options=BuildOptions(format="npy"))
    a, b = load_npz(tmp_path / "a.npz"), load_npz(tmp_path / "b.npz")
    assert not isinstance(b.x, np.ndarray)
    for index in (slice(None), slice(1, 6, 2), [4, 0], (3, slice(5, 9)), -1):
        np.testing.assert_array_equal(b.x[index], a.x[index])
    assert (a.y == b.y).all()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz", "b.npy", "b.npz", "in"]


def test_labels_from_names_columns_and_tables(tmp_path):
    root = folder(tmp_path, count=2)
    out = tmp_path / "out.npz"
    csv_to_npz(root, out, labels=LabelOptions(pattern=r"(?P<label>p\d)_"))
    assert load_npz(out).info.class_names == ("p0", "p1")
    table = write(
        tmp_path / "labels.csv",
        "file,label\n"
        + "".join(
            f"{label}/p{n}_{n}.csv,{label[0]}{n}\n" for label in ("run", "walk") for n in (0, 1)
        ),
    )
    csv_to_npz(root, out, labels=LabelOptions(table=table))
    assert load_npz(out).info.class_names == ("r0", "r1", "w0", "w1")
    csv_to_npz(root, out, labels=LabelOptions(none=True))
    assert load_npz(out).y is None
    csv_to_npz(root, out, options=BuildOptions(classes=("walk", "run")))
    assert load_npz(out).y.tolist() == [1, 1, 0, 0]
    column = write(tmp_path / "col" / "a.csv", "x,what\n1,no\n2,no\n3,yes\n4,yes\n5,yes\n")
    options = BuildOptions(window="3f", hop="2f")
    csv_to_npz(column.parent, out, labels=LabelOptions(column="what"), options=options)
    assert load_npz(out).y.tolist() == [[0, 0, 1], [1, 1, 1]]
    options = BuildOptions(window="3f", hop="2f", window_label="majority")
    csv_to_npz(column.parent, out, labels=LabelOptions(column="what"), options=options)
    assert load_npz(out).y.tolist() == [0, 1]


def test_events_become_labels_per_frame(tmp_path):
    root = folder(tmp_path, count=1, classes=("x",))
    table = write(tmp_path / "events.csv", "file,start,end,label\np0_0.csv,0.5,1.0,step\n")
    csv_to_npz(root, tmp_path / "out.npz", labels=LabelOptions(table=table))
    data = load_npz(tmp_path / "out.npz")
    assert data.info.class_names == ("background", "step")
    assert np.flatnonzero(data.y[0]).tolist() == list(range(25, 50))


def test_an_event_between_the_centres_of_two_frames_is_named(tmp_path):
    root = folder(tmp_path, count=1, classes=("x",))
    rows = "p0_0.csv,0.5,1.0,step\np0_0.csv,1.001,1.004,tap\n"
    table = write(tmp_path / "events.csv", f"file,start,end,label\n{rows}")
    with pytest.warns(
        UserWarning, match=r"line 3: no frame of .*p0_0.csv .*'tap' at 1.001 s, of 0.003"
    ):
        csv_to_npz(root, tmp_path / "out.npz", labels=LabelOptions(table=table))
    assert np.flatnonzero(load_npz(tmp_path / "out.npz").y[0]).tolist() == list(range(25, 50))


BAD_FILES = [
    ("", "the file is empty"),
    ("time,ax,ay\n", "a header and no line of data"),
    ("time,ax,ax\n0,1,2\n", "the header has the name 'ax' twice"),
    ("time,ax,ay\n0,1,2\n1,nan,2\n", "line 3, column 'ax' holds 'nan'"),
    ("time,ax,ay\n0,1,2\n1,1,\n2,1,3\n", "line 3, column 'ay' holds an empty cell"),
    ("time,ax,ay\n0,1,2\n1,1,off\n", "line 3, column 'ay' holds 'off'"),
    ("time,ax,ay\n0,1,2\n1,1\n", "line 3 has 2 cells, line 1 has 3"),
    ("time,ax\n0,0,1,5\n0,02,1,6\n", "with decimal commas, save the file with semicolons"),
    ("time,ax,ay\n0,1,2\n0,1,2\n", "line 3, column 'time': the time is not after the one before"),
    ("time,ax,ay\n0,1,2\n1,1,2\n2,1,2\n9,1,2\n", "line 5: the time steps by 7000 ms"),
    ("time,ax,ay\n0,1,2\n", "one line of data has no sample period"),
    ("time,ax,ay\n0,1,2\nsoon,1,2\n", "line 3, column 'time' holds 'soon'"),
    ("time,ax,ay\n0,1,2\n1,1e39,2\n2,1,2\n", "too large for float32"),
    ("time,bx,by\n0,1,2\n0.02,1,2\n", "the columns are bx, by, the files before have ax, ay"),
    ("time,ax,ay\n0,1,2\n0.1,1,2\n", "mixed rates: this file has 10 Hz"),
    ("ax,ay\n1,2\n1,2\n", "mixed rates: this file has no period"),
]


@pytest.mark.parametrize(("text", "message"), BAD_FILES)
def test_a_bad_file_is_one_sentence_and_nothing_is_written(tmp_path, text, message):
    root = folder(tmp_path, count=1)
    write(root / "walk" / "z.csv", text)
    (tmp_path / "out.npz").write_bytes(b"old")
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        csv_to_npz(root, tmp_path / "out.npz")
    assert "z.csv" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out.npz"]
    assert (tmp_path / "out.npz").read_bytes() == b"old"


def test_a_name_may_hold_the_delimiter_in_quotes(tmp_path):
    table = read_table(write(tmp_path / "a.csv", '"a, in g",b\n"1,5","2"\n"2,5","3"\n'))
    assert table.names == ["a, in g", "b"]
    assert table.numbers(0).tolist() == [1.5, 2.5]
