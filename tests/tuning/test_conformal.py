"""Conformal intervals: their coverage on new data, in the file, on the device."""

import io
import json
import sys

import numpy as np
import pytest
from kgated_edge import EdgeError, EdgeModel, SequenceData, read_manifest
from kgated_edge.cli import main
from typer.testing import CliRunner

from kgated.tuning import conformal_intervals, write_section
from kgated_cli.app import app


def sequences(model, rng, count):
    """Targets that differ from the model's results by noise, more for the second output."""
    x = rng.normal(size=(count, 5, 3)).astype(np.float32)
    runner, y = EdgeModel(model), []
    for row in x:
        runner.reset()
        y.append(runner.run(row))
    y = np.stack(y) + rng.standard_t(4, size=(count, 5, 2)) * [0.1, 0.5]
    return SequenceData(x, np.full(count, 5), y)


@pytest.mark.parametrize("coverage", [0.5, 0.9])
def test_new_targets_are_covered(model, coverage):
    rng = np.random.default_rng(0)
    intervals = conformal_intervals(model, sequences(model, rng, 300), coverage)
    new = sequences(model, rng, 400)
    runner, covered = EdgeModel(model), []
    write_section(model, "intervals", intervals.to_plain())
    runner = EdgeModel(model)
    for x, y in zip(new.x, new.y, strict=True):
        runner.reset()
        low, high = runner.interval(runner.run(x))
        covered.append((low <= y) & (y <= high))
    assert np.mean(covered, axis=(0, 1)) == pytest.approx(coverage, abs=0.03)
    assert intervals.half_widths[1] > 3 * intervals.half_widths[0]


def test_the_interval_width_is_the_conformal_quantile(model):
    data = sequences(model, np.random.default_rng(1), 4)  # 20 targets
    runner, errors = EdgeModel(model), []
    for x, y in zip(data.x, data.y, strict=True):
        runner.reset()
        errors.append(np.abs(runner.run(x) - y))
    ranked = np.sort(np.concatenate(errors), axis=0)
    widths = conformal_intervals(model, data, 0.9).half_widths
    assert widths == pytest.approx(ranked[18], rel=1e-6)  # ⌈21 · 0.9⌉ = 19
    assert (widths >= ranked[18]).all()
    with pytest.raises(EdgeError, match="needs 99 targets or more, got 20"):
        conformal_intervals(model, data, 0.99)
    few = sequences(model, np.random.default_rng(1), 1)
    with pytest.raises(EdgeError, match=r"a coverage of 0\.9 needs 9 targets or more, got 5"):
        conformal_intervals(model, few, 0.9)
    with pytest.raises(EdgeError, match="`coverage` must be above 0 and below 1"):
        conformal_intervals(model, data, 1.0)


def test_live_reports_them(model, tmp_path, monkeypatch, capfd):
    data = sequences(model, np.random.default_rng(2), 40)
    np.savez(tmp_path / "d.npz", x=data.x, lengths=data.lengths, y=data.y)
    result = CliRunner().invoke(app, ["intervals", str(model), str(tmp_path / "d.npz")])
    assert result.exit_code == 0, result.output
    assert "90% intervals: result ± " in result.stdout
    widths = read_manifest(model).intervals.half_widths
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data.x[0].tobytes())))
    assert main.main(["live", str(model)]) == 0
    line = json.loads(capfd.readouterr().out.splitlines()[0])
    output = np.array(line["outputs"]["output"])
    assert np.array(line["upper"]) - output == pytest.approx(widths, abs=1e-6)
    assert output - np.array(line["lower"]) == pytest.approx(widths, abs=1e-6)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"coverage": 1.0, "half_widths": [1.0, 1.0]}, "`intervals.coverage` must be below 1"),
        ({"coverage": 0.9, "half_widths": [1.0]}, "`intervals.half_widths` must be 2 numbers"),
        ({"coverage": 0.9, "half_widths": [1.0, -1]}, "`intervals.half_widths.1` must be a finite"),
        ({"coverage": 0.9, "half_widths": 3}, "`intervals.half_widths` must be an array"),
    ],
)
def test_damaged_intervals_are_refused(model, section, message):
    with pytest.raises(EdgeError, match=message):
        write_section(model, "intervals", section)


def test_class_numbers_are_refused_in_plain_words(model):
    data = SequenceData(np.zeros((2, 5, 3), np.float32), np.full(2, 5), np.array([0, 1]))
    with pytest.raises(
        EdgeError, match="intervals are for numeric targets, and this model has lab"
    ):
        conformal_intervals(model, data)


def test_a_file_without_intervals_is_refused(model):
    runner = EdgeModel(model)
    with pytest.raises(EdgeError, match="the file has no intervals"):
        runner.interval(np.zeros(2))
