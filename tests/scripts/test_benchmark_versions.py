"""The benchmark of two checkouts: its rows, and a runner process of this checkout."""

import shutil

import benchmark_versions
import pytest
import typer
from source_code import ROOT


def test_a_row_has_medians_and_the_median_of_the_ratios_of_turns():
    before = [{"a step": 4.0, "a pool": 128.0}, {"a step": 2.0, "a pool": 64.0}] * 2
    now = [{"a step": 4.0, "a pool": 64.0}, {"a step": 4.0, "a pool": 32.0}] * 2
    step, pool = benchmark_versions.rows_of(before, now)
    assert step == {"file": "a", "run by": "step", "before_us": 3, "now_us": 4, "now / before": 1.5}
    assert pool["before_us"] == 1.5  # per session
    assert pool["now / before"] == 0.5


def test_a_runner_measures_each_file_by_step_and_by_pool(tmp_path):
    shutil.copy(ROOT / "tests" / "edge" / "fixtures" / "speech.tflite", tmp_path / "speech.tflite")
    runner = benchmark_versions.Runner(ROOT, tmp_path)
    first, second = runner.measure(), runner.measure()
    runner.process.communicate()
    assert list(first) == list(second) == ["speech step", "speech pool"]
    assert 0.0 < first["speech step"] < first["speech pool"]
    assert runner.process.returncode == 0


def test_a_folder_without_a_runner_is_refused(tmp_path):
    with pytest.raises(typer.BadParameter, match="holds no edge/kgated_edge"):
        benchmark_versions.main(tmp_path)
