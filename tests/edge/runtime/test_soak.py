"""Many steps, the short version of scripts/soak_edge.py, and that it sees what it looks for."""

import numpy as np
from soak_edge import Mark, failures, main, model_soak, pool_soak, run


def test_a_short_soak(capsys):
    assert main(["--steps", "60000"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == "PASS"
    assert len(out) == 21
    assert all(line.endswith("unchanged") for line in out[:-1])


def test_a_change_and_growth_are_seen(speech):
    steps, golden = model_soak(speech)
    drift = iter(np.linspace(0, 1e-7, 11))
    marks = run(steps, lambda: {"outputs": golden()["output"] + next(drift)}, 100)
    assert failures(marks) == ["golden outputs changed"]
    held = []

    def leak(count):
        held.append(np.ones(2**18))

    assert "memory grew from" in failures(run(leak, pool_soak(speech)[1], 100))[0]


def test_what_warms_up_is_no_growth():
    marks = [Mark(10, 50.0, 1.0, True), Mark(20, 50.9, 1.0, True), Mark(30, None, 1.0, True)]
    assert failures(marks) == []
    assert failures([*marks, Mark(40, 51.1, 1.0, True)]) == ["memory grew from 50.00 to 51.10 MiB"]
