"""The demo from data to page, on one cell and made-up speech, and the ways it must fail."""

import io
import json
import sys

import numpy as np
import pytest
from kgated_edge import EdgeModel
from rich.console import Console

import kgated
from kgated.data import DataSet, load_npz, pad
from kgated.demos.cells import baseline, run
from kgated.layers import CELLS
from kgated.study.edge_check import Limits, run_check
from kgated.study.tasks import flattened_sequences
from kgated.training import Plan


def speech(rng, count):
    """Sequences of 3 to 6 frames around a place of their class."""
    y = np.arange(count) % 3
    frames = [rng.normal(label, 0.4, (rng.integers(3, 7), 4)) for label in y]
    return pad([f.astype(np.float32) for f in frames], y)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return DataSet("made up", speech(rng, 45), speech(rng, 30), ("a", "b", "c"), 0.01)


@pytest.fixture(scope="module")
def demo_run(data, tmp_path_factory):
    """(folder, results, what was printed) of one run."""
    folder, screen = tmp_path_factory.mktemp("demo") / "new" / "folder", io.StringIO()
    console = Console(file=screen, width=80)
    results = run.demo(
        folder, seed=1, cells=["GRU"], plan=Plan(epochs=3), data=data, console=console
    )
    return folder, results, screen.getvalue()


def test_the_demo_writes_all_files(demo_run):
    folder, results, printed = demo_run
    assert {path.name for path in folder.iterdir()} == {
        "GRU.keras",
        "GRU.stream-none.tflite",
        "GRU.stream-dynamic.tflite",
        "report.html",
        "results.json",
        "test.npz",
    }
    written = json.loads((folder / "results.json").read_text())
    assert written["rows"][0]["device_accuracy"] == results.rows[0].device_accuracy
    assert "GRU" in printed
    assert f"{results.rows[1].file_bytes / 1024:.1f}" in printed
    assert "logistic regression" in printed


def test_keras_masked_and_the_device_agree(demo_run, data):
    folder, results, _ = demo_run
    plain, dynamic = results.rows
    assert (plain.quantize, dynamic.quantize) == ("none", "dynamic")
    assert plain.max_abs_difference <= 1e-5
    assert plain.differing_decisions == 0
    assert plain.device_accuracy == plain.keras_accuracy
    assert 1e-5 < dynamic.max_abs_difference < 0.1
    # What the rows say, once more from the file and the plain frames.
    edge = EdgeModel(folder / plain.file_name)
    right = 0
    for x, n, y in zip(data.test.x, data.test.lengths, data.test.y, strict=True):
        edge.reset()
        right += edge.run(x[:n])[-1].argmax() == y
    assert plain.device_accuracy == pytest.approx(right / 30)


def test_figures_are_those_of_the_runner_alone(demo_run, data):
    _, results, _ = demo_run
    for row in results.rows:
        assert sum(row.latency.counts) == data.test.lengths.sum()
        assert 0.0 < row.latency.us_p50 <= row.latency.us_p99 <= row.latency.us_max
        assert 10.0 < row.peak_memory_mib < 300.0  # this process, which has TensorFlow, holds more
    assert results.rows[0].file_bytes > results.rows[1].file_bytes
    # z|r|h: frames and state to gates, a bias each; and the classes.
    assert results.rows[0].parameters == 3 * 64 * (4 + 64 + 1) + 3 * (64 + 1)


def test_the_saved_model_is_the_one_converted(demo_run, data):
    import keras

    folder, results, _ = demo_run
    model = keras.saving.load_model(folder / "GRU.keras")
    outputs = np.asarray(model(data.test.x))
    file = run.final_outputs(folder / results.rows[0].file_name, data.test)
    assert run.compare_outputs(outputs, file)[0] < 1e-5
    test = load_npz(folder / "test.npz")
    assert (test.x == data.test.x).all()


def test_a_difference_is_found():
    outputs = np.array([[0.6, 0.4], [0.3, 0.7]])
    assert run.compare_outputs(outputs, outputs) == (0.0, 0)
    assert run.compare_outputs(outputs, outputs[:, ::-1]) == (pytest.approx(0.4), 2)


def test_a_missed_limit_and_a_broken_file_are_not_passed_over(demo_run, tmp_path):
    folder, results, _ = demo_run
    path, data = folder / results.rows[0].file_name, folder / "test.npz"
    strict = run_check(path, data, Limits(deadline_ms=1e-6, max_misses=0, min_accuracy=0.0))
    assert strict.deadline_misses == sum(strict.latency.counts)
    assert len(strict.failures) == 1
    (tmp_path / "broken.tflite").write_bytes(b"nothing")
    with pytest.raises(RuntimeError, match=r"the check did not run: .*broken\.tflite"):
        run_check(tmp_path / "broken.tflite", data, Limits(10.0, 0, 0.0))


def test_a_folder_that_can_t_be_written_is_refused_before_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "japanese_vowels", lambda: pytest.fail("it began"))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"can't make the folder .*file.*name another") as caught:
        run.demo(tmp_path / "file" / "inside")
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_reported_before_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "japanese_vowels", lambda: pytest.fail("it began"))
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ImportError, match=r'jinja2 .*pip install "kgated\[demo\]"'):
        run.demo(tmp_path)


def test_the_cells_are_ours():
    gated = [kgated.LSTM, kgated.PeepholeLSTM, kgated.GRU, kgated.MinGRU, kgated.MinLSTM]
    assert {cell.__name__: cell for cell in gated} == CELLS
    assert set(run.DEMO_CELLS) < set(CELLS)


def test_the_baseline_learns_the_classes_but_no_shuffled_labels(data, monkeypatch):
    monkeypatch.setattr(flattened_sequences, "FRAMES", (None, 2))
    monkeypatch.setattr(flattened_sequences, "STRENGTHS", (1.0,))
    actual = baseline.linear_baseline(data.train, data.test)
    assert actual.test_accuracy > 0.9
    assert "logistic regression on" in actual.description
    rng = np.random.default_rng(3)
    shuffled = pad(list(data.train.x), rng.permutation(data.train.y))
    assert baseline.linear_baseline(shuffled, data.test).fold_accuracy < 0.7


def test_vectors_do_not_see_the_padding(data):
    spoilt = pad(list(data.train.x), data.train.y)
    spoilt = type(spoilt)(spoilt.x.copy(), data.train.lengths, spoilt.y)
    spoilt.x[np.arange(spoilt.x.shape[1]) >= spoilt.lengths[:, None]] = 50.0
    for frames in (None, 4):
        plain = flattened_sequences.flattened(data.train, frames, 8)
        np.testing.assert_array_equal(flattened_sequences.flattened(spoilt, frames, 8), plain)
        assert plain.shape == (45, 4 * (frames or 8))
