"""The kept corpus of the parsers, and that the fuzzer sees what it looks for."""

import sys
from pathlib import Path

import pytest
from fuzz_parsers import CORPUS, FIXTURES, NAMES, fuzz, main, outcome_of
from kgated_edge import EdgeError
from robust.targets import TARGETS, seeds

ENDS = """
INFO: seed corpus: files: 3
#2 INITED cov: 12 ft: 12
#9 DONE cov: 31 ft: 40
stat::number_of_executed_units: 4711
"""


def test_the_targets_have_names():
    assert tuple(TARGETS) == NAMES
    assert {folder.name for folder in CORPUS.iterdir()} == set(NAMES)


@pytest.mark.parametrize("target", NAMES)
def test_every_input_of_the_corpus_is_accepted_or_refused(target, tmp_path):
    inputs = sorted((CORPUS / target).iterdir())
    assert len(inputs) > 3
    refusals = 0
    for path in inputs:
        try:
            TARGETS[target](path.read_bytes(), tmp_path / "input")
        except EdgeError:
            refusals += 1
    assert target == "csv" or refusals > len(inputs) / 3


@pytest.mark.parametrize("target", NAMES)
def test_the_seeds_are_valid(target, tmp_path):
    contents = seeds(target, FIXTURES, tmp_path / "input")
    assert len(contents) > 1
    TARGETS[target](contents[-1], tmp_path / "input")


def test_a_log_contains_the_outcome():
    assert vars(outcome_of("wav", 0, ENDS)) == {
        "target": "wav",
        "executions": 4711,
        "edges": 31,
        "finding": "",
    }
    log = "=== Uncaught Python exception: ===\nKeyError: 'a'\n" + ENDS
    assert outcome_of("wav", 77, log).finding.endswith("=== KeyError: 'a'")
    assert outcome_of("wav", -9, "").finding == "exit -9"


@pytest.mark.slow
def test_the_fuzzer_runs_and_sees_an_exception(tmp_path, monkeypatch, capfd):
    pytest.importorskip("atheris")
    assert main(["signature", "--seconds", "1", "--findings", str(tmp_path)]) == 0
    assert capfd.readouterr().out.endswith("PASS\n")
    broken = tmp_path / "broken.py"
    script = Path(sys.modules["fuzz_parsers"].__file__)
    lines = "sys.path.insert(0, {!r}); import fuzz_parsers, robust.targets as t\n"
    lines += "def fails(content, scratch): raise KeyError('a')\n"
    lines += "t.TARGETS['signature'] = fails\nfuzz_parsers.work(sys.argv[2], sys.argv[3:])\n"
    broken.write_text("import sys; " + lines.format(str(script.parent)))
    monkeypatch.setattr("fuzz_parsers.__file__", str(broken))
    outcome = fuzz("signature", 1, tmp_path)
    assert "KeyError: 'a'" in outcome.finding
    assert list(tmp_path.glob("signature.crash-*"))
