"""What is asked of the machine: refused in words, given back at the end. And what it shows."""

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
from kgated_edge.loadtest.host import granted, neighbours
from kgated_edge.measure.monitor import Sensors

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


def test_neighbours_are_busy_and_end():
    before = set(children())
    with neighbours(2):
        found = set(children()) - before
        assert len(found) == 2
        used = 0
        while used < 5:
            used = min(int(fields(pid)[11]) for pid in found)
    assert not set(children()) & found


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_neighbours_end_with_an_error(error):
    before, found = set(children()), []

    def fail():
        found.extend(set(children()) - before)
        raise error

    with pytest.raises(error), neighbours(1):
        fail()
    assert found
    assert not set(children()) & set(found)


def test_neighbours_end_with_a_parent_that_was_killed():
    code = """
import os, signal
from pathlib import Path
from kgated_edge.loadtest.host import neighbours
with neighbours(1):
    print(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    run = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert run.returncode == -signal.SIGKILL
    pid = int(run.stdout)
    while fields(pid)[0] not in ("gone", "Z"):
        time.sleep(0.01)


def test_a_cpu_of_its_own_is_given_back():
    before = os.sched_getaffinity(0)
    with granted(None, max(before), False):
        assert os.sched_getaffinity(0) == {max(before)}
    assert os.sched_getaffinity(0) == before
    with pytest.raises(EdgeError, match="`cpu` must be one"), granted(None, 100_000, False):
        pass


def test_nothing_asked_nothing_changed(monkeypatch):
    monkeypatch.setattr(os, "sched_setaffinity", None)
    monkeypatch.setattr(os, "sched_setscheduler", None)
    monkeypatch.setattr(ctypes, "CDLL", None)
    with granted(None, None, False):
        pass


def test_priority_is_refused_without_the_right(monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with (
        pytest.raises(EdgeError, match=r"`priority` needs the right .*not permitted.*ulimit -r"),
        granted(10, None, False),
    ):
        pass


def test_priority_is_given_back(monkeypatch):
    calls = []
    monkeypatch.setattr(os, "sched_setscheduler", lambda *call: calls.append(call))
    policy = os.sched_getscheduler(0)
    with granted(10, None, False):
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
        with granted(None, None, True):
            assert calls == [3]
        assert calls == [3, "unlocked"]
    else:
        with pytest.raises(EdgeError, match="`lock_memory` needs the right"):
            granted(None, None, True).__enter__()
        assert calls == [3]


def test_the_system_grants_or_refuses_in_words(speech, npz):
    command = [sys.executable, "-m", "kgated_edge", "realtime", speech, "--data", npz]
    flags = ["--seconds", "0.05", "--max-misses", "99", "--priority", "10", "--lock-memory"]
    run = subprocess.run([*command, *flags], capture_output=True, text=True)
    if run.returncode == 2:
        assert "needs the right" in run.stderr
    else:
        assert (run.returncode, run.stdout.splitlines()[-1]) == (0, "PASS")


def fake_system(root):
    for name, text in {
        "proc/self/statm": "900 512 3 4 0 5 0\n",
        "sys/class/thermal/thermal_zone0/temp": "41500\n",
        "sys/class/thermal/thermal_zone1/temp": "-2000\n",
        "sys/class/thermal/cooling_device0/type": "thermal-cpufreq-0\n",
        "sys/class/thermal/cooling_device0/cur_state": "0\n",
        "sys/class/thermal/cooling_device1/type": "pwm-fan\n",
        "sys/class/thermal/cooling_device1/cur_state": "3\n",
        "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "7\n",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "e0001\n",
        **{
            f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq": f"{600_000 + cpu}000\n"
            for cpu in os.sched_getaffinity(0)
        },
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_sensors_read_what_is_shown(tmp_path, fake_clock):
    fake_system(tmp_path)
    sensors = Sensors(fake_clock().now, tmp_path)
    sensors.look()
    (reading,) = sensors.readings
    assert reading.rss_mib == 512 * os.sysconf("SC_PAGE_SIZE") / 2**20
    assert reading.temperature_c == 41.5
    assert reading.frequency_mhz == 600_000 + max(os.sched_getaffinity(0))
    (tmp_path / "sys/class/thermal/thermal_zone0/temp").write_text("not a number")
    for path in tmp_path.glob("sys/devices/system/cpu/*/cpufreq/scaling_cur_freq"):
        path.write_text("0\n")
    sensors.look()
    assert sensors.readings[1].temperature_c == -2.0
    assert (sensors.max_temperature_c, sensors.min_frequency_mhz) == (41.5, 0.0)


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("sys/class/thermal/cooling_device0/cur_state", "2", "0"),
        ("sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "7", "8"),
        ("sys/devices/platform/soc/soc:firmware/get_throttled", "e0001", "e0008"),
    ],
)
def test_a_cpu_that_the_system_slows_is_seen(
    tmp_path, fake_clock, monkeypatch, name, first, second
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    fake_system(tmp_path)
    sensors = Sensors(fake_clock().now, tmp_path)
    sensors.look()
    sensors.look()
    assert sensors.throttled is False, "a fan that turns, or what was before the run"
    sensors.readings.clear()
    for text in (first, second):
        (tmp_path / name).write_text(f"{text}\n")
        sensors.look()
    assert sensors.throttled is True


def test_sensors_of_a_system_that_hides_all(tmp_path, fake_clock):
    sensors = Sensors(fake_clock().now, tmp_path)
    sensors.look()
    assert (sensors.readings[0].rss_mib, sensors.max_temperature_c) == (None, None)
    assert (sensors.min_frequency_mhz, sensors.throttled) == (None, None)


def test_sensors_are_looked_at_once_a_second_where_there_is_time(tmp_path, fake_clock):
    fake = fake_clock()
    sensors = Sensors(fake.now, tmp_path)
    for _ in range(100):
        fake.time += 100_000_000
        sensors.look_between(6_000_000)
    assert len(sensors.readings) == 10
    fake.time += 10_000_000_000
    sensors.look_between(4_000_000)
    sensors.look_between(-1)
    assert len(sensors.readings) == 10
