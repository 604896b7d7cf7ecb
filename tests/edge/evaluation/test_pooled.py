"""`check --pool`: sequences side by side score as they do one after the other."""

import json

import numpy as np
import pytest
from kgated_edge import EdgeError, check
from kgated_edge.cli.main import main


def test_a_pool_scores_the_same(speech, rng, tmp_path, capsys):
    x = rng.normal(size=(70, 6, 3)).astype(np.float32)
    lengths = rng.integers(1, 7, size=70).astype(np.int32)
    data = {"x": x, "lengths": lengths, "y": rng.integers(2, size=70)}
    separate, together = check(speech, data), check(speech, data, pool=True)
    assert together.accuracy == separate.accuracy
    assert (together.steps, together.sequences) == (separate.steps, separate.sequences)
    assert together.pool_sessions == 64
    assert separate.pool_sessions is None
    np.savez(tmp_path / "d.npz", **data)
    report = tmp_path / "r.json"
    command = ["check", str(speech), "--data", str(tmp_path / "d.npz"), "--pool"]
    assert main([*command, "--json", str(report)]) == 0
    assert "in a pool" in capsys.readouterr().out
    assert json.loads(report.read_text())["pool_sessions"] == 64


def test_a_pool_is_for_streams(fixture_file):
    name = "whole"
    with pytest.raises(EdgeError, match="`pool` is for streams"):
        check(fixture_file(name), {"x": np.zeros((1, 9, 3), np.float32)}, pool=True)
