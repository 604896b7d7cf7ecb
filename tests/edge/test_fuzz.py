"""Damaged files, the short version of scripts/fuzz_edge.py, and that it sees what it looks for."""

import os
import re
import struct
import sys
from collections import Counter
from pathlib import Path

import pytest
from fuzz_edge import broken, fuzz, main
from kgated_edge import EdgeModel, ManifestError
from kgated_edge.container import field, tables, unsigned
from kgated_edge.structure import check_structure
from robust.damage import KINDS, damaged
from robust.watch import Found, watch

CASES = 240


@pytest.mark.skipif(os.name != "posix", reason="workers are watched by POSIX means")
def test_hundreds_of_damaged_files():
    models = sorted((Path(__file__).parent / "fixtures").glob("*.tflite"))
    found = fuzz(models, range(CASES))
    assert broken(found) == []
    for kind, one in zip(KINDS, found, strict=True):
        assert one.outcomes.total() == CASES / len(KINDS)
        assert one.outcomes[kind, "refused"] > CASES / len(KINDS) / 2
    assert 10 < max(one.peak_mib for one in found[:3]) < 200
    # Other bytes in the weights are no fault of the file's form.
    assert found[3].outcomes["graph", "ran"] > 0


def test_the_command(capsys, speech):
    assert main([str(speech), "--cases", "8", "--workers", "2"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "PASS"
    assert re.search(r"^bytes +2  2 refused; at most \d+ MiB$", out, re.MULTILINE)


def test_damage_is_damage_and_can_be_made_again(speech):
    content = speech.read_bytes()
    for kind in ("bytes", "manifest", "graph"):
        for number in range(20):
            assert damaged(content, kind, number) != content
            assert damaged(content, kind, number) == damaged(content, kind, number)
    assert len({damaged(content, "cut", n) for n in range(20)}) > 10


WORKER = """
import os, sys, time
for line in sys.stdin:
    number, kind = line.split()
    if kind == "dies": os.abort()
    if kind == "sleeps": time.sleep(60)
    print(number, "refused" if kind == "good" else kind, "why", flush=True)
print("peak 12.5", flush=True)
"""


def test_a_worker_that_dies_or_hangs_is_seen():
    kinds = ["good", "dies", "good", "sleeps", "exception", "good"]
    found = watch([sys.executable, "-c", WORKER], list(enumerate(kinds)), limit_s=1.0)
    assert found.outcomes == Counter(
        {
            ("good", "refused"): 3,
            ("dies", "crash"): 1,
            ("sleeps", "hang"): 1,
            ("exception", "exception"): 1,
        }
    )
    assert found.peak_mib == 12.5
    assert found.notes == ["dies 1: crash exit -6", "sleeps 3: hang", "exception 4: exception why"]
    assert broken([found]) == ["dies: 1 crash", "sleeps: 1 hang", "exception: 1 exception"]


@pytest.mark.parametrize(
    ("kind", "outcome", "is_broken"),
    [
        ("graph", "crash", False),
        ("graph", "hang", True),
        ("bytes", "crash", True),
        ("bytes", "unverified", True),
        ("manifest", "unclear", True),
        ("cut", "refused", False),
    ],
)
def test_what_counts_as_broken(kind, outcome, is_broken):
    found = Found()
    found.add("1", kind, outcome)
    assert bool(broken([found])) == is_broken


def operator(content, code):
    """Where the first operator of a kind stands, by the schema's slots."""
    model = unsigned(content, 0)
    kinds = [content[field(content, one, 0)] for one in tables(content, model, 1)]
    (subgraph,) = tables(content, model, 2)
    operators = tables(content, subgraph, 3)
    indexes = [(at, field(content, at, 0)) for at in operators]
    found = [at for at, f in indexes if kinds[unsigned(content, f) if f else 0] == code]
    return found[0]


def vector_of(content, table, slot):
    at = field(content, table, slot)
    return at + unsigned(content, at)


def options(content, table):
    return field(content, vector_of(content, table, 4), 0)


def tensor(content, kind, slot):
    """Where a field of the first tensor of a type stands, of those that have it."""
    (subgraph,) = tables(content, unsigned(content, 0), 2)
    types = [(one, field(content, one, 1)) for one in tables(content, subgraph, 0)]
    found = [one for one, at in types if (content[at] if at else 0) == kind]
    return next(at for one in found if (at := field(content, one, slot)))


def scales(content):
    at = tensor(content, 9, 4)
    return vector_of(content, at + unsigned(content, at), 2)


@pytest.mark.parametrize(
    ("name", "place", "value", "message"),
    [
        ("speech", lambda c: options(c, operator(c, 49)), 5, "splits into another number"),
        ("speech", lambda c: vector_of(c, operator(c, 49), 2), 0, "takes 2 tensors and gives 0"),
        ("speech", lambda c: vector_of(c, operator(c, 9), 1), 1, "takes 1 tensors and gives 1"),
        ("speech", lambda c: field(c, operator(c, 49), 0), 77, "a kind that the file does not"),
        ("speech", lambda c: field(c, operator(c, 49), 3) - 3, 0, "splits into another number"),
        ("speech", lambda c: tensor(c, 0, 2), 99, "of a buffer that the file does not have"),
        ("int8", scales, 0, "is int8 without scale and zero point"),
        ("int8", lambda c: scales(c) + 4, 0xBF800000, "is int8 without scale and zero point"),
        ("int8", lambda c: scales(c) + 4, 0x7FC00000, "is int8 without scale and zero point"),
    ],
)
def test_graphs_that_would_kill_are_refused(
    fixture_file, sign, tmp_path, name, place, value, message
):
    content = bytearray(fixture_file(name).read_bytes())
    check_structure(bytes(content))
    struct.pack_into("<I", content, place(content), value)
    path = tmp_path / "m.tflite"
    path.write_bytes(sign(bytes(content)))
    with pytest.raises(ManifestError, match=f"its graph is broken, .*{message}"):
        EdgeModel(path)


def test_the_structure_of_every_fixture_is_sound():
    for path in (Path(__file__).parent / "fixtures").glob("*.tflite"):
        check_structure(path.read_bytes())
