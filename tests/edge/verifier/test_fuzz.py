"""Damaged files, the short version of scripts/fuzz_edge.py, and that it sees what it looks for."""

import os
import random
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
from fuzz_edge import fuzz, main, violations
from robust.damage import KINDS, _edit_field, damaged
from robust.watch import Report, watch

CASES = 300
FIXTURES = list((Path(__file__).parents[1] / "fixtures").glob("*.tflite"))


@pytest.mark.skipif(os.name != "posix", reason="workers are watched by POSIX means")
def test_hundreds_of_damaged_files():
    reports = fuzz(sorted(FIXTURES), range(CASES))
    assert violations(reports) == []
    for kind, report in zip(KINDS, reports, strict=True):
        assert report.outcomes.total() == CASES / len(KINDS)
        assert report.outcomes[kind, "refused"] > CASES / len(KINDS) / 2
    assert 10 < max(report.peak_mib for report in reports[:3]) < 200
    # Changed bytes in the weights do not make the file invalid.
    assert reports[3].outcomes["graph", "ran"] > 0


def test_the_command(capsys, speech):
    assert main([str(speech), "--cases", "10", "--workers", "2"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "PASS"
    assert re.search(r"^bytes +2  2 refused; at most \d+ MiB$", out, re.MULTILINE)


def test_damage_is_damage_and_can_be_made_again(speech):
    content = speech.read_bytes()
    for kind in ("bytes", "manifest", "graph", "fields"):
        for number in range(20):
            assert damaged(content, kind, number) != content
            assert damaged(content, kind, number) == damaged(content, kind, number)
    assert len({damaged(content, "cut", n) for n in range(20)}) > 10


def test_an_edit_of_a_number_that_no_float_holds():
    actual = []
    for seed in range(50):
        document = {"a": 10**400}
        _edit_field(document, random.Random(seed))
        actual.append(document.get("a"))
    assert 2 * 10**400 in actual
    assert 0 in actual


WORKER = """
import os, sys, time
for line in sys.stdin:
    number, kind = line.split()
    if kind == "dies": os.abort()
    if kind == "sleeps": time.sleep(60)
    print(number, "refused" if kind == "good" else kind, "why", flush=True)
print("peak 12.5", flush=True)
"""


def test_a_worker_that_crashes_or_hangs_is_reported():
    kinds = ["good", "dies", "good", "sleeps", "exception", "good"]
    report = watch([sys.executable, "-c", WORKER], list(enumerate(kinds)), limit_s=1.0)
    assert report.outcomes == Counter(
        {
            ("good", "refused"): 3,
            ("dies", "crash"): 1,
            ("sleeps", "hang"): 1,
            ("exception", "exception"): 1,
        }
    )
    assert report.peak_mib == 12.5
    assert report.notes == ["dies 1: crash exit -6", "sleeps 3: hang", "exception 4: exception why"]
    assert violations([report]) == ["dies: 1 crash", "sleeps: 1 hang", "exception: 1 exception"]


@pytest.mark.parametrize(
    ("kind", "outcome", "is_violation"),
    [
        ("graph", "crash", True),
        ("fields", "hang", True),
        ("fields", "late", False),
        ("manifest", "late", True),
        ("bytes", "crash", True),
        ("bytes", "unverified", True),
        ("manifest", "unclear", True),
        ("cut", "refused", False),
    ],
)
def test_which_outcomes_are_violations(kind, outcome, is_violation):
    report = Report()
    report.add("1", kind, outcome)
    assert bool(violations([report])) == is_violation
