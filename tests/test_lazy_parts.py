"""The parts of the package by their name alone, and what importing the package leaves out."""

import subprocess
import sys

import pytest

import kgated

CODE = """
import sys, kgated
assert not {m for m in sys.modules if m.startswith(("kgated.interop", "kgated.deploy"))}
assert kgated.{part}.__name__ == "kgated.{part}"
"""


@pytest.mark.parametrize("part", kgated.MODULES)
def test_a_part_is_there_when_it_is_asked_for(part):
    assert getattr(kgated, part).__name__ == f"kgated.{part}"
    assert part in dir(kgated)


def test_it_is_not_imported_before():
    code = CODE.replace("{part}", "interop")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


def test_an_unknown_name_raises_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = kgated.nothing
