"""The page on files of `live --monitor`."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from kgated_edge.cli import main
from typer.testing import CliRunner

from kgated.report.field import is_field_log, read_field_log
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
    margins = [json.loads(each) for each in re.findall(r'"margin":({[^}]*})', text)]
    assert len(margins) == 4
    assert min(margin["t"] for margin in margins) >= 24, "the toolbar is above the legend"
    assert min(margin["l"] for margin in margins) >= 48, "the first label, with the date, is whole"
    assert "drift_psi-0" not in text  # this file knows no distribution
    assert json.dumps(lines[1]["state_norm"]) in text


@pytest.mark.parametrize("name", ["field.log", "field", "field.json"])
@pytest.mark.parametrize("lines", [1, 2])
def test_a_report_has_any_suffix(log, tmp_path, name, lines):
    page, path = tmp_path / "page.html", tmp_path / name
    path.write_text("".join(log.read_text().splitlines(keepends=True)[:lines]))
    result = CliRunner().invoke(app, ["report", str(path), str(log), "-o", str(page)])
    assert result.exit_code == 0, result.output
    assert f"{name}</h2>" in page.read_text()


def test_a_result_may_have_the_suffix_of_reports(tmp_path):
    path = tmp_path / "check.jsonl"
    path.write_text(json.dumps({"command": "check", **REPORT}, indent=2))
    assert not is_field_log(path)


@pytest.mark.parametrize("damage", ["", "cut}\n", "[1]\n"])
def test_a_damaged_report_of_any_suffix_names_its_line(log, tmp_path, damage):
    path = tmp_path / "field.log"
    path.write_text(f"{damage}{log.read_text()}no report\n")
    result = CliRunner().invoke(app, ["report", str(path), "-o", str(tmp_path / "page.html")])
    assert f"field.log: line {1 if damage else 3} is no report" in str(result.exception)


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


REPORT = {"time": "2026-11-30T10:02:47+00:00", "step": 9, "steps": 9, "late_steps": 0}
REPORT |= {"held_frames": 0, "skipped_frames": 0, "bad_lines": 0, "drift_psi": [0.1, None]}


@pytest.mark.parametrize(
    "change",
    [
        {"drift_psi": ["a"]},
        {"drift_psi": [[1], [2]]},
        {"outside_share": {"a": 1}},
        {"confidence_mean": float("nan")},
        {"state_norm": True},
        {"time": 3},
        {"step": -1},
    ],
)
def test_fields_of_another_kind_are_refused_by_line(tmp_path, change):
    path = tmp_path / "field.jsonl"
    path.write_text(f"{json.dumps(REPORT)}\n{json.dumps(REPORT | change)}\n")
    with pytest.raises(ValueError, match=r"field\.jsonl: line 2 is no report .* drop the line if"):
        read_field_log(path)


def test_damaged_json_is_refused_by_line(tmp_path):
    path = tmp_path / "field.jsonl"
    for damage in ("[" * 100_000, json.dumps(REPORT)[:30], "\0\0"):
        path.write_text(f"{json.dumps(REPORT)}\n{damage}")
        with pytest.raises(ValueError, match="line 2 is no report"):
            read_field_log(path)
    path.write_text(json.dumps(REPORT) + "\n")
    assert read_field_log(path).lines == [REPORT]
