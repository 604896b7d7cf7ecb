"""Tables of events as people and their programs write them."""

import pytest
from kgated_edge import DataError
from kgated_edge.recordings.labels import read_labels


@pytest.mark.parametrize(
    "table",
    [
        "filename\tonset\toffset\tevent_label\na.npy\t1.0\t2.5\tyes\n",
        "# by hand\nfile,start,end,label\n# the only one\na.npy,1,2.5,yes\n",
        "a.npy,1,2.5,event\n",
        "id,Label,End,Start,File\n7,yes,2.5,1,a.npy\n",
    ],
)
def test_tables_of_other_dialects_have_the_same_events(tmp_path, table):
    path = tmp_path / "labels.csv"
    path.write_text(table)
    (event,) = read_labels(path)["a.npy"]
    assert (event.start_s, event.end_s) == (1.0, 2.5)
    assert event.label == ("event" if "event\n" in table else "yes")


@pytest.mark.parametrize("row", ["a.npy,1_0,1_1,yes", "a.npy,1,2,y\0es", "a.npy,0:01,0:02,yes"])
def test_a_row_that_may_be_misread_is_refused(tmp_path, row):
    path = tmp_path / "labels.csv"
    path.write_text(f"file,start,end,label\n{row}\n")
    with pytest.raises(DataError, match=r"labels\.csv: line 2"):
        read_labels(path)
