"""Many steps, the short version of scripts/soak_edge.py, and that it sees what it looks for."""

import mmap
import subprocess
import sys

import numpy as np
import soak_edge
from soak_edge import Mark, failures, model_soak, pool_soak, run

BLOCK = 2 * 2**20


def test_a_short_soak():
    """Runs in a separate process, since earlier tests would change the measured memory."""
    command = [sys.executable, soak_edge.__file__, "--steps", "60000"]
    soak = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert soak.returncode == 0, soak.stdout + soak.stderr
    out = soak.stdout.splitlines()
    assert out[-1] == "PASS"
    assert len(out) == 21
    assert all(line.endswith("unchanged") for line in out[:-1])


def test_a_change_and_growth_are_seen(speech):
    steps, golden = model_soak(speech)
    drift = iter(np.linspace(0, 1e-7, 11))
    marks = run(steps, lambda: {"outputs": golden()["output"] + next(drift)}, 100)
    assert "golden outputs changed" in failures(marks)
    blocks = []

    def leak(count):
        """Takes fresh pages: numpy's allocator may reuse what earlier tests have freed."""
        blocks.append(mmap.mmap(-1, BLOCK))
        blocks[-1].write(bytes([1]) * BLOCK)

    assert "memory grew from" in failures(run(leak, pool_soak(speech)[1], 100))[0]


def test_what_warms_up_is_no_growth():
    marks = [Mark(10, 50.0, 1.0, True), Mark(20, 50.9, 1.0, True), Mark(30, None, 1.0, True)]
    assert failures(marks) == []
    assert failures([*marks, Mark(40, 51.1, 1.0, True)]) == ["memory grew from 50.00 to 51.10 MiB"]
