"""Lines of text as sensors write them: headers, columns, times, damaged lines."""

import io
import json

import numpy as np
import pytest
from kgated_edge import DataError, EdgeModel
from kgated_edge.format.tensor_spec import TensorSpec
from kgated_edge.ingest.csv_frames import CsvColumns, csv_frames
from kgated_edge.ingest.input_counts import InputCounts, good_frames

SPEC = TensorSpec("frame", (3,))
TOKEN = TensorSpec("token", (), "int32", vocabulary=5)


def read(text, policy="skip", spec=SPEC, **columns):
    """The frames, and what was counted."""
    counts, stream = InputCounts(), io.BytesIO(text if isinstance(text, bytes) else text.encode())
    frames = csv_frames(stream, spec, CsvColumns(**columns), policy, counts)
    return [f.tolist() for f in good_frames(frames, spec, policy, counts)], counts


@pytest.mark.parametrize(
    "text",
    [
        "1,2,3\n4,5,6\n",
        "x,y,z\n1,2,3\n4,5,6",
        "1 , 2 3\r\n\r\n4,5 , 6\r\n",
        "\ufeffx\ty\tz\n1\t2\t3\n\n \n4\t5\t6\n",
        '"x","y","z"\n"1","2","3"\n"4","5","6"\n',
        "x;y;z\n1,0;2,0;3,0\n4;5;6\n",
        "sep=;\nx;y;z\n1,0;2,0;3,0\n4;5;6\n",
        "x\ty\tz\n1,0\t2,0\t3,0\n4\t5\t6\n",
        "\ufeff# of sensor 3\nx,y,z\n1,2,3\n4,5,6\n",
        "\ufeff\nx,y,z\n1,2,3\n4,5,6\n",
        "# of sensor 3\nx|y|z\n1|2|3\n# warm, now, on\n4|5|6\n",
        "time,x,y,z\n0,1,2,3\n1,4,5,6\n",
        "x,y,z,Timestamp\n1,2,3,2026-01-01T00:00:00\n4,5,6,2026-01-01T00:00:01\n",
    ],
)
@pytest.mark.parametrize("policy", ["refuse", "hold", "skip"])
def test_frames_of_many_dialects(text, policy):
    frames, counts = read(text, policy)
    assert frames == [[1, 2, 3], [4, 5, 6]]
    assert (counts.bad_lines, counts.skipped_frames, counts.held_frames) == (0, 0, 0)


HEADER = "durée,hauteur,µV\n1,2,3\n4,5,6\n"
UTF16 = "the file is text in UTF-16"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER.encode("cp1252"), "line 1 is not .* got 'dur\ufffde,"),
        ("# durée\n,durée,x\n1,2,3\n".encode("cp1252"), "line 2 is not text in UTF-8"),
        ("время,высота,x\n1,2,3\n".encode("cp1251"), "line 1 is not text in UTF-8"),
        ("時間,高さ,x\n1,2,3\n".encode("shift-jis"), "line 1 is not text in UTF-8"),
        (HEADER.encode("utf-16"), UTF16),
        (b"\xfe\xff" + HEADER.encode("utf-16-be"), UTF16),
        ("x,y,z\n1,2,3\n".encode("utf-16-le"), "line 1 is not text in UTF-8"),
    ],
)
@pytest.mark.parametrize("policy", ["refuse", "hold", "skip"])
def test_a_header_in_another_encoding_is_no_damaged_line(content, message, policy):
    """Without it the columns would be taken by their order."""
    with pytest.raises(DataError, match=message):
        read(content, policy)


@pytest.mark.parametrize("noise", [b"\xff\xfe\n", b"\xff\x03,\xfe\xfe,\xff\n", b"1,2,\xb33\n"])
def test_noise_before_the_first_frame_is_a_damaged_line(noise):
    read_frames, counts = read(noise + b"1,2,3\n4,5,6\n", "skip")
    assert (read_frames, counts.bad_lines) == ([[1, 2, 3], [4, 5, 6]], 1)


def test_a_line_in_another_encoding():
    content = "x,y,z,note\n1,2,3,été\n4,5,6,\n".encode("cp1252")
    columns = {"features": ["x", "y", "z"]}
    assert read(content, "skip", **columns)[0] == [[1, 2, 3], [4, 5, 6]]
    with pytest.raises(DataError, match="line 2 is not text in UTF-8, got '1,2,3,\ufffdt\ufffd': "):
        read(content, "refuse", **columns)


def test_a_quoted_line_that_csv_refuses_is_a_bad_line():
    """The fuzzer came upon this line, which raised `csv.Error`."""
    damaged = 'x,y,z\n1,2,3\n"4"\r,5,6\n7,8,9\n'
    frames, counts = read(damaged)
    assert (frames, counts.bad_lines) == ([[1, 2, 3], [7, 8, 9]], 1)
    with pytest.raises(DataError, match="line 3 must hold 3 numbers"):
        read(damaged, "refuse")
    with pytest.raises(DataError, match="line 1 must hold 3 numbers"):
        read('"1"\r,2,3\n', "refuse")


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("t,c,b,a\n7,3,2,1\n", {"features": ["a", "b", "c"]}),
        ("t,c,b,a\n7,3,2,1\n", {"features": ["4", "3", "c"]}),
        ("7,3,2,1\n", {"features": ["4", "3", "2"]}),
        ("q,1,2,3\n", {"features": ["2", "3", "4"]}),
        ("when,a,b,c\n7,1,2,3\n", {"time": "when"}),
        ("7,1,2,3\n", {"time": "1"}),
    ],
)
def test_chosen_columns(text, columns):
    assert read(text, **columns)[0] == [[1, 2, 3]]


TRAINED = ["ax", "ay", "az"]


@pytest.mark.parametrize(
    "header", ["time,az,ay,ax,label", ",az,ay,ax,", "t_ms;az;ay;ax;x", "Date/Time,az,ay,ax,class"]
)
def test_a_header_is_matched_with_the_names_of_training(header):
    line = "7;3;2;1;0" if ";" in header else "7,3,2,1,0"
    assert read(f"{header}\n{line}\n", trained=TRAINED)[0] == [[1, 2, 3]]


def test_names_that_training_did_not_have():
    with pytest.raises(DataError, match=r"has no column 'az', .* trained on; it has ax, ay, bz"):
        read("ax,ay,bz\n1,2,3\n", trained=TRAINED)
    assert read("3,4,5\n", trained=TRAINED)[0] == [[3, 4, 5]]
    assert read("a,b,c\n3,4,5\n", trained=["column 1", "column 2", "column 3"])[0] == [[3, 4, 5]]
    assert read("a,b,c\n3,4,5\n", trained=TRAINED, features=["3", "b", "1"])[0] == [[5, 4, 3]]


@pytest.mark.parametrize("line", ["1;2,5;3.000", "1_0;2;3"])
def test_numbers_that_may_be_misread_are_bad_lines(line):
    with pytest.raises(DataError, match="line 2 must hold 3 numbers"):
        read(f"x;y;z\n{line}\n", "refuse")


@pytest.mark.parametrize(
    ("name", "time", "expected"),
    [
        ("timestamp", "1767225601000", 1767225601.0),
        ("timestamp", "1767225601", 1767225601.0),
        ("time_ms", "2500", 2.5),
        ("Time (min)", "2", 120.0),
    ],
)
def test_times_are_in_seconds(name, time, expected):
    assert read(f"{name},x,y,z\n{time},1,2,3\n", time=name)[1].time_s == expected


@pytest.mark.parametrize("period_s", [0.02, 0.0215, None])
def test_the_period_is_that_of_training(period_s):
    lines = "".join(f"{20 * n + n % 3},1,2,3\n" for n in range(80))
    assert len(read(f"time_ms,x,y,z\n{lines}", "refuse", period_s=period_s)[0]) == 80


def test_a_wrong_time_is_no_other_period():
    times = [20 * n for n in range(80)]
    times[10] += 700
    text = "time_ms,x,y,z\n" + "".join(f"{time},1,2,3\n" for time in times)
    assert len(read(text, "refuse", period_s=0.02)[0]) == 80


def test_another_period_than_in_training_is_refused():
    text = "time_ms,x,y,z\n" + "".join(f"{10 * n + n % 3},1,2,3\n" for n in range(80))
    with pytest.raises(
        DataError, match=r"steps by 10\.0. ms, .* training by 20 ms: resample to 50"
    ):
        read(text, "refuse", period_s=0.02)
    assert len(read(text, "hold", period_s=0.02)[0]) == 80


def test_times_of_the_column():
    for text, expected in (("t,x,y,z\n7.5,1,2,3\n", 7.5), ("t,x,y,z\nnever,1,2,3\n", None)):
        assert read(text)[1].time_s == expected
    counts = read("t,x,y,z\n2026-01-01T00:00:01+00:00,1,2,3\n")[1]
    assert counts.time_s == 1767225601.0


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("a,b,c,d\n1,2,3,4\n", {}, "the header has 4 columns of features, the model takes 3"),
        ("a,a,b,c\n1,2,3,4\n", {"features": ["a", "b", "c"]}, "has the column 'a' twice"),
        ("a,b,c\n1,2,3\n", {"features": ["a", "b", "d"]}, "there is no column 'd', the columns"),
        ("a,b,c\n1,2,3\n", {"features": ["a", "b", "9"]}, "there is no column '9'"),
        ("a,b,c\n1,2,3\n", {"features": ["a", "b"]}, "must name 3 columns"),
        ("1,2,3\n", {"features": ["a", "b", "c"]}, "a header must name the columns"),
        ("1,2,3\n", {"time": "when"}, "a header must name the columns"),
    ],
)
def test_columns_that_do_not_fit(text, columns, message):
    with pytest.raises(DataError, match=message):
        read(text, **columns)


DAMAGED = "1,2,3\n4,x,6\n7,8\n,5,6\n1,2,3,4\n\xff\xfe\n9,9,9\n"


def test_damaged_lines_are_skipped_and_counted():
    frames, counts = read(DAMAGED, "skip")
    assert frames == [[1, 2, 3], [9, 9, 9]]
    assert (counts.bad_lines, counts.skipped_frames, counts.held_frames) == (4, 5, 0)


def test_damaged_lines_are_held_and_counted():
    frames, counts = read("junk\n" + DAMAGED, "hold")
    assert frames == [[1, 2, 3]] * 6 + [[9, 9, 9]]
    assert (counts.bad_lines, counts.skipped_frames, counts.held_frames) == (5, 1, 5)


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_line_cut_in_two_is_joined(cut):
    line = "1.25,2.5,3.75"
    text = f"0,0,0\n{line[:cut]}\n{line[cut:]}\n9,9,9\n"
    frames, counts = read(text)
    # Cut inside of the first or last number, one part is a frame of its own.
    if cut < 4 or cut > 9:
        assert frames[-1] == [9, 9, 9]
        assert (counts.joined_lines, counts.bad_lines) == (0, 1)
    else:
        assert frames == [[0, 0, 0], [1.25, 2.5, 3.75], [9, 9, 9]]
        assert (counts.joined_lines, counts.bad_lines) == (1, 0)


def test_tokens_are_held_too():
    frames, counts = read("1\n\nx\n7\n4\n", "hold", TOKEN)
    assert frames == [1, 1, 1, 4]
    assert (counts.bad_lines, counts.held_frames) == (1, 2)


def test_the_end_of_a_file_cut_short():
    assert read("1,2,3\n4,5")[0] == [[1, 2, 3]]
    with pytest.raises(DataError, match="line 2 must hold 3 numbers of float32, got '4,5'"):
        read("1,2,3\n4,5", "refuse")


def test_live_goes_on_and_reports_what_it_met(command, speech, tmp_path):
    path, report = tmp_path / "sensor.csv", tmp_path / "r.json"
    path.write_text("when,z,y,x\n0.5,3,2,1\n\n0.6,3,2\n0.7,nan,2,1\n0.8,6,5,4\n")
    options = ("--columns", "x,y,z", "--time-column", "when", "--on-bad-frame", "hold")
    code, out, err = command("live", speech, path, *options, "--json", report)
    assert code == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["time_s"] for line in lines] == [0.5, 0.5, 0.7, 0.8]
    frames = np.array([[1, 2, 3], [1, 2, 3], [1, 2, 3], [4, 5, 6]], np.float32)
    expected = EdgeModel(speech).run(frames)
    outputs = np.array([line["outputs"]["output"] for line in lines], np.float32)
    assert np.array_equal(outputs, expected)
    assert "frames held        2\nbad lines          1\n" in err
    result = json.loads(report.read_text())
    assert (result["held_frames"], result["bad_lines"], result["skipped_frames"]) == (2, 1, 0)


def test_numbers_are_short_and_results_can_be_left_out(command, speech, tmp_path):
    path = tmp_path / "f.npy"
    np.save(path, np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32))
    _, out, _ = command("live", speech, path, "--every", 3)
    lines = out.splitlines()
    assert [json.loads(line)["step"] for line in lines] == [3, 6, 9]
    assert max(map(len, lines)) < 110
    code, out, err = command("live", speech, path, "--deadline-ms", 1e-6, "--on-bad-frame", "fail")
    assert (code, len(out.splitlines())) == (0, 10)
    assert "late steps         10\n" in err
