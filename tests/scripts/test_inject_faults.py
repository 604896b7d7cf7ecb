"""Injected faults: every write of a command, and some allocations; a fault that matters is seen."""

import os
import sys

import numpy as np
import pytest
from inject_faults import BEFORE, damage, outcome, prepared
from kgated_edge.runtime.tensor_views import address
from robust.faults import Run, full_disk, no_memory, run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="runs in forked processes")


@pytest.mark.parametrize("name", ["check", "events"])
def test_a_full_disk_at_any_write_leaves_nothing_half_written(name, tmp_path):
    command = prepared(name, tmp_path)
    writes = run(command, full_disk(1 << 40)).operations
    assert writes > 2
    for number in range(1, writes + 1, 1 if writes < 10 else 8):
        assert outcome(command, tmp_path, full_disk(number)) == "refused"
        # `events` saves its state first, then the result.
        assert (tmp_path / "out" / "result.json").read_bytes() == BEFORE


def test_an_allocation_that_fails_is_one_clear_line(tmp_path):
    pytest.importorskip("_testcapi")
    command = prepared("check", tmp_path)
    for number in (1, 50, 3000, 20_000):
        assert outcome(command, tmp_path, no_memory(number)) in ("refused", "ran")


@pytest.fixture(scope="module")
def conversion(tmp_path_factory):
    """`kgated convert` for C and for a microcontroller, and its folder."""
    pytest.importorskip("kgated")
    folder = tmp_path_factory.mktemp("conversion")
    return prepared("convert", folder), folder


def test_a_full_disk_at_any_write_of_a_conversion_leaves_nothing_half_written(conversion):
    command, folder = conversion
    writes = run(command, full_disk(1 << 40)).operations
    assert writes > 30  # 5 for each of 7 files
    for number in range(1, writes + 1):
        assert outcome(command, folder, full_disk(number)) == "refused", number
        assert (folder / "out" / "result.json").read_bytes() == BEFORE
        if number % 6 == 1:
            error = run(command, full_disk(number)).error
            assert error.lower().count("no space left on device") == 1, error


def test_an_allocation_of_a_conversion_that_fails_is_one_clear_line(conversion):
    pytest.importorskip("_testcapi")
    command, folder = conversion
    for number in (1, 50, 1000, 3000):
        assert outcome(command, folder, no_memory(number)) in ("refused", "ran"), number


def test_a_converted_file_that_is_not_whole_is_seen(conversion):
    command, folder = conversion
    assert outcome(command, folder, full_disk(1 << 40)) == "ran"
    for path in (folder / "out" / name for name in ("c.tflite", "c.c", "c.h", "mcu.cc", "mcu.h")):
        content = path.read_bytes()
        path.write_bytes(content[:-1])
        assert damage(folder / "out") == f"half-written: {path.name}"
        path.write_bytes(content)
    assert damage(folder / "out") == ""


def test_the_address_of_an_array_without_memory_is_no_crash():
    """NumPy's own `__array_interface__` crashes at two of these allocations."""
    pytest.importorskip("_testcapi")
    array, ends = np.zeros(3, np.float32), []
    for number in range(1, 40):
        ends.append(run(lambda: min(address(array), 0), no_memory(number)).code)
    assert min(ends) == 0
    assert max(ends) > 0


def test_a_command_that_writes_in_place_is_seen(tmp_path):
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "result.json"

    def in_place():
        with open(target, "w") as file:
            file.write('{"a":')
            file.write("1}")
        return 0

    assert outcome(in_place, tmp_path, full_disk(3)).startswith("exit 99: OSError")
    target.write_text('{"a":')
    assert damage(target.parent).startswith("half-written")
    (target.parent / "scratch.tmp").touch()
    assert damage(target.parent) == "left behind: ['scratch.tmp']"


@pytest.mark.parametrize(
    ("code", "error", "violation"),
    [
        (0, "", ""),
        (2, "kgated-edge: error: the disk is full\n", ""),
        (2, "kgated: error: the disk is full\n", ""),
        (2, "INFO: a delegate\nkgated-edge: error: why\n", ""),
        (2, "", "unclear"),
        (2, "Traceback\nkgated-edge: error: why\n", "unclear"),
        (1, "Traceback\nKeyError: 'a'\n", "exit 1: Traceback KeyError: 'a'"),
        (-11, "", "exit -11"),
    ],
)
def test_what_counts_as_a_violation(code, error, violation):
    actual = Run(code, error, 0).violation()
    assert actual.startswith(violation)
    assert bool(actual) == bool(violation)


def test_a_crash_is_seen(tmp_path):
    crash = run(os.abort, full_disk(1))
    assert crash.code == -6
    assert crash.violation().startswith("exit -6: File ")
