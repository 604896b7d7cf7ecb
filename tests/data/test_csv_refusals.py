"""Labels, options and files that are no data set: a refusal in one sentence, nothing written."""

import io
import re

import pytest
from csv_files import folder, rows, write
from kgated_edge.errors import DataError
from kgated_edge.format.tensor_spec import TensorSpec
from kgated_edge.ingest.csv_frames import csv_frames
from kgated_edge.ingest.csv_layout import CsvColumns
from kgated_edge.ingest.input_counts import REFUSE, InputCounts

from kgated.data import BuildOptions, CsvOptions, LabelOptions, csv_to_npz

SPEC = TensorSpec("frame", (2,))
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
    ("file,start,label\np0_0.csv,0,a\n", "must have the columns file,label or file,start,end,"),
    ("file,start,end,label\np0_0.csv,0_1,0_2,a\n", "line 2: start and end must be seconds"),
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


@pytest.mark.parametrize(
    "content",
    [
        b"time,ax,ay\n0,1,\xe9\n",
        "durée,ax,ay\n0,1,2\n".encode("cp1252"),
        "time,ax,ay\n".encode("utf-16"),
        "time,ax,ay\n0,1,2\n".encode("utf-16-be"),
    ],
)
def test_text_in_another_encoding_is_refused_as_on_the_device(tmp_path, content):
    root = folder(tmp_path, count=1, classes=("x",))
    (root / "x" / "z.csv").write_bytes(content)
    with pytest.raises(DataError) as refused:
        list(csv_frames(io.BytesIO(content), SPEC, CsvColumns(), REFUSE, InputCounts()))
    with pytest.raises(ValueError, match=f"z.csv: {re.escape(str(refused.value))}$"):
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
    with pytest.raises(ValueError, match=r"out\.npz: this is a file: name its folder"):
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


def test_a_name_that_stands_for_two_files_is_refused_with_their_paths(tmp_path):
    root = folder(tmp_path, count=1, classes=("x", "y"))
    table = write(tmp_path / "table.csv", "file,label\np0_0,a\n")
    with pytest.raises(ValueError, match=r"line 2: 'p0_0' stands for x/p0_0.csv and y/p0_0.csv"):
        csv_to_npz(root, tmp_path / "out.npz", labels=LabelOptions(table=table))


def test_a_class_named_twice_is_refused():
    with pytest.raises(ValueError, match="--classes must name each class once"):
        BuildOptions(classes=("x", "y", "x"))
