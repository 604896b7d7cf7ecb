"""Host settings: applied, undone at the end, or refused with a reason."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from kgated_edge import EdgeError
from kgated_edge.loadtest.host import background_load, scheduling_and_affinity

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux's own ways")


def fields(pid):
    """/proc/PID/stat after the name: state, parent, ... or nothing when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["gone"]


def children():
    pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return [pid for pid in pids if fields(pid)[1:2] == [str(os.getpid())]]


def wait_until(condition, seconds=60):
    """Waits for a condition; fails where it does not come true, so that no test hangs."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.01)


def may_use(priority):
    """Whether this process has the right to real-time scheduling and to lock its memory."""
    code = f"""
import ctypes, os
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param({priority}))
raise SystemExit(ctypes.CDLL(None).mlockall(3) != 0)
"""
    return subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL).returncode == 0


def test_background_load_is_busy_and_ends():
    before = set(children())
    with background_load(2):
        started = set(children()) - before
        assert len(started) == 2
        wait_until(lambda: min(int(fields(pid)[11]) for pid in started) >= 5)
    assert not set(children()) & started


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_background_load_end_with_an_error(error):
    before, started = set(children()), []

    def fail():
        started.extend(set(children()) - before)
        raise error

    with pytest.raises(error), background_load(1):
        fail()
    assert started
    assert not set(children()) & set(started)


def test_background_load_end_with_a_parent_that_was_killed():
    code = """
import os, signal
from pathlib import Path
from kgated_edge.loadtest.host import background_load
with background_load(1):
    print(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    run = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert run.returncode == -signal.SIGKILL
    pid = int(run.stdout)
    wait_until(lambda: fields(pid)[0] in ("gone", "Z"))


def test_a_cpu_of_its_own_is_given_back():
    before = os.sched_getaffinity(0)
    with scheduling_and_affinity(None, max(before), False):
        assert os.sched_getaffinity(0) == {max(before)}
    assert os.sched_getaffinity(0) == before
    with (
        pytest.raises(EdgeError, match="`cpu` must be one"),
        scheduling_and_affinity(None, 100_000, False),
    ):
        pass


def test_default_settings_change_no_scheduling(monkeypatch):
    monkeypatch.setattr(os, "sched_setaffinity", None)
    monkeypatch.setattr(os, "sched_setscheduler", None)
    monkeypatch.setattr(ctypes, "CDLL", None)
    with scheduling_and_affinity(None, None, False):
        pass


def test_priority_is_refused_without_the_right(monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with (
        pytest.raises(EdgeError, match=r"`priority` needs the right .*not permitted.*ulimit -r"),
        scheduling_and_affinity(10, None, False),
    ):
        pass


def test_priority_is_given_back(monkeypatch):
    calls = []
    monkeypatch.setattr(os, "sched_setscheduler", lambda *call: calls.append(call))
    policy = os.sched_getscheduler(0)
    with scheduling_and_affinity(10, None, False):
        (call,) = calls
        assert (call[1], call[2].sched_priority) == (os.SCHED_FIFO, 10)
    assert calls[1][1] == policy


@pytest.mark.parametrize("allowed", [True, False])
def test_memory_is_locked_or_refused(monkeypatch, allowed):
    calls = []

    def lock(flags):
        calls.append(flags)
        ctypes.set_errno(0 if allowed else 12)
        return 0 if allowed else -1

    library = SimpleNamespace(mlockall=lock, munlockall=lambda: calls.append("unlocked"))
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: library)
    if allowed:
        with scheduling_and_affinity(None, None, True):
            assert calls == [3]
        assert calls == [3, "unlocked"]
    else:
        with pytest.raises(EdgeError, match="`lock_memory` needs the right"):
            scheduling_and_affinity(None, None, True).__enter__()
        assert calls == [3]


def test_the_command_is_refused_just_where_the_process_lacks_the_right(speech, npz):
    command = [sys.executable, "-m", "kgated_edge", "realtime", speech, "--data", npz]
    flags = ["--seconds", "0.05", "--max-misses", "99", "--priority", "10", "--lock-memory"]
    expected = 0 if may_use(10) else 2
    run = subprocess.run([*command, *flags], capture_output=True, text=True)
    assert run.returncode == expected
    assert ("needs the right" in run.stderr) == (expected == 2)
    assert run.stdout.endswith("PASS\n") == (expected == 0)
