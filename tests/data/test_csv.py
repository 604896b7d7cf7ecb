"""CSV files as recordings: every way of writing them down, and every refusal in one sentence."""

import re

import numpy as np
import pytest

from kgated.data import BuildOptions, CsvOptions, LabelOptions, csv_to_npz, load_npz
from kgated.data.csv_folder import read_csv
from kgated.data.csv_table import read_table


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def rows(delimiter=",", decimal=".", header="time,ax,ay", count=6):
    lines = [header.replace(",", delimiter)] if header else []
    for n in range(count):
        cells = [f"{0.02 * n:.2f}", f"{n + 0.5}", f"{-n}e-1"]
        lines.append(delimiter.join(cells).replace(".", decimal))
    return "\n".join(lines) + "\n"


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


def folder(tmp_path, count=8, classes=("run", "walk"), seconds=2.0):
    rng = np.random.default_rng(0)
    for label in classes:
        for n in range(count):
            x = rng.normal(size=(int(50 * seconds), 2))
            lines = ["time,ax,ay", *(f"{k / 50:.2f},{a:.4f},{b:.4f}" for k, (a, b) in enumerate(x))]
            write(tmp_path / "in" / label / f"p{n % 4}_{n}.csv", "\n".join(lines))
    return tmp_path / "in"


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


EVENTS = [
    ("file,start,end,label\np0_0.csv,1.5,2.5,step\n", "line 2: the event ends at 2.5 s, beyond"),
    ("file,start,end,label\np0_0.csv,0,1,a\np0_0.csv,0.5,2,b\n", "line 3: the event at 0.5 s"),
    ("file,start,end,label\np0_0.csv,1,1,a\n", "line 2: start and end must be seconds"),
    ("file,start,end,label\np9.csv,0,1,a\n", "line 2: there is no file 'p9.csv'"),
    ("file,label\np0_0.csv,a\np0_0.csv,b\n", "has the labels ['a', 'b']"),
    ("who,what,when\np0_0.csv,a,b\n", "must have the columns file,label"),
    ("file,label\np0_0.csv,\n", "line 2: the label is empty or NaN"),
    ("file,label\np0_0.csv,NaN\n", "line 2: the label is empty or NaN"),
    ("file,start,end,label\np0_0.csv,0.1,0.2,nan\n", "line 2: the label is empty or NaN"),
    ("file,start,end,label\np0_0.csv,-1,0.2,a\n", "line 2: start and end must be seconds from 0"),
    ("file,start,end,label\np0_0.csv,0.3,0.2,a\n", "line 2: start and end must be seconds from 0"),
    ("file,start,end,label\np0_0.csv,nan,0.2,a\n", "line 2: start and end must be seconds from 0"),
    ("file,start,end,label,label\np0_0.csv,0,1,a,b\n", "the header has the name 'label' twice"),
    ("file;start;end;label\np0_0.csv;0,1;0,2;a\n", "line 2: start and end must be seconds from 0"),
    ("file,label\n", "there is a header and no line of data"),
    ("", "the file is empty"),
]


@pytest.mark.parametrize(("text", "message"), EVENTS)
def test_a_bad_table_of_labels_is_one_sentence(tmp_path, text, message):
    root = folder(tmp_path, count=1, classes=("x",))
    table = write(tmp_path / "table.csv", text)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        csv_to_npz(root, tmp_path / "out.npz", labels=LabelOptions(table=table))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.parametrize("cell", ["", "nan", "NaN"])
def test_a_missing_label_of_a_frame_is_refused(tmp_path, cell):
    root = folder(tmp_path, count=1)
    write(root / "z.csv", f"time,ax,ay,label\n0,1,2,on\n0.02,1,2,{cell}\n")
    for path in root.rglob("p*.csv"):
        path.unlink()
    with pytest.raises(ValueError, match=r"z\.csv: line 3, column 'label' holds no label"):
        csv_to_npz(root, tmp_path / "out.npz", labels=LabelOptions(column="label"))
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.parametrize("content", [b"time,ax,ay\n0,1,\xe9\n", "time,ax,ay\n".encode("utf-16")])
def test_text_of_another_encoding_is_refused(tmp_path, content):
    root = folder(tmp_path, count=1)
    (root / "walk" / "z.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"z\.csv: this is not a text in UTF-8"):
        csv_to_npz(root, tmp_path / "out.npz")


def test_folders_are_no_recordings(tmp_path):
    root, empty = folder(tmp_path, count=1), tmp_path / "empty"
    (root / "walk" / "z.csv").mkdir()
    empty.mkdir()
    assert csv_to_npz(root, tmp_path / "out.npz")[0].sequences == 2
    with pytest.raises(ValueError, match=r"empty: there are no files \.csv"):
        csv_to_npz(empty, tmp_path / "new.npz")
    with pytest.raises(OSError, match=r"empty: cannot be read \(Is a directory\): check the path"):
        csv_to_npz(root, tmp_path / "new.npz", labels=LabelOptions(table=empty))
    with pytest.raises(ValueError, match=r"out\.npz: there is no such folder"):
        csv_to_npz(tmp_path / "out.npz", tmp_path / "new.npz")


@pytest.mark.parametrize("kind", ["npz", "npy"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, kind):
    resource = pytest.importorskip("resource")
    root, out = folder(tmp_path, count=4), tmp_path / "out.npz"
    out.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
    try:
        with pytest.raises(OSError, match=r"File too large"):
            csv_to_npz(root, out, options=BuildOptions(format=kind))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out.npz"]
    assert out.read_bytes() == b"old"


def test_other_refusals(tmp_path):
    root, out = folder(tmp_path, count=2, classes=("x",)), tmp_path / "out.npz"
    with pytest.raises(ValueError, match="one class only, 'x'"):
        csv_to_npz(root, out)
    with pytest.raises(ValueError, match=r"the pattern .* finds no label in the name"):
        csv_to_npz(root, out, labels=LabelOptions(pattern="(q)"))
    with pytest.raises(ValueError, match="no column 'az'; the columns are time, ax, ay"):
        csv_to_npz(root, out, CsvOptions(columns=("az",)))
    with pytest.raises(ValueError, match="--window in seconds needs the sample period"):
        csv_to_npz(
            root, out, CsvOptions(time="none"), LabelOptions(none=True), BuildOptions(window=1.0)
        )
    with pytest.raises(
        ValueError, match="--sample-period-ms is 10, the time column steps by 20 ms"
    ):
        csv_to_npz(root, out, CsvOptions(sample_period_s=0.01))
    with pytest.raises(ValueError, match="2 groups are too few for 3 parts"):
        csv_to_npz(
            root,
            out,
            None,
            LabelOptions(none=True),
            BuildOptions(split={"test": 0.2, "valid": 0.2}),
        )
    write(root / "loose.csv", rows())
    with pytest.raises(ValueError, match=r"loose\.csv: there is no folder to take the label from"):
        csv_to_npz(root, out)
    assert not out.exists()


def test_a_name_may_hold_the_delimiter_in_quotes(tmp_path):
    table = read_table(write(tmp_path / "a.csv", '"a, in g",b\n"1,5","2"\n"2,5","3"\n'))
    assert table.names == ["a, in g", "b"]
    assert table.numbers(0).tolist() == [1.5, 2.5]
