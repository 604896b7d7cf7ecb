"""The page on files of `live --monitor`."""

import json
from pathlib import Path

import numpy as np
import pytest
from kgated_edge.cli import main
from typer.testing import CliRunner

from kgated.report.field import read_field_log
from kgated_cli.app import app

MODEL = Path(__file__).parents[1] / "edge" / "fixtures" / "int8.tflite"


@pytest.fixture
def log(tmp_path):
    path, frames = tmp_path / "field.jsonl", tmp_path / "f.npy"
    np.save(frames, np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32))
    arguments = ["live", MODEL, frames, "--monitor", path, "--monitor-s", "1"]
    for _ in range(2):
        assert main.main([str(argument) for argument in arguments]) == 0
    return path


def test_the_page_draws_each_report(log, tmp_path):
    page = tmp_path / "page.html"
    result = CliRunner().invoke(app, ["report", str(log), "-o", str(page)])
    assert result.exit_code == 0, result.output
    text, lines = page.read_text(), read_field_log(log).lines
    assert f"{len(lines)} reports, 600 steps; late steps 0" in text
    assert len(lines) == 2
    for name in ("outside_share", "state_saturated_share", "state_norm", "confidence_mean"):
        assert f'id="{name}-0"' in text
    assert "drift_psi-0" not in text  # this file knows no distribution
    assert json.dumps(lines[1]["state_norm"]) in text


@pytest.mark.parametrize("content", ["", "no JSON\n", "[1]\n", '{"step": 1}\n'])
def test_other_files_are_named(tmp_path, content):
    path = tmp_path / "x.jsonl"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"x\.jsonl: (line 1 is|there is) no report"):
        read_field_log(path)


def test_results_and_reports_do_not_mix(log, tmp_path):
    run_file = tmp_path / "r.json"
    run_file.write_text("{}")
    result = CliRunner().invoke(app, ["report", str(log), str(run_file), "-o", "p.html"])
    assert "give these alone" in str(result.exception)
