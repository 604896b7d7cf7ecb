"""What the system shows of memory, temperature and clock, in a made-up /proc and /sys."""

import os
import subprocess
import sys

import numpy as np
import pytest
from kgated_edge.measure.monitor import SystemMonitor, peak_memory_mib, resident_mib

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux's /proc")


def test_the_peak_stays_when_memory_is_freed():
    before = resident_mib()
    block = np.ones(2**24)  # 128 MiB
    during = resident_mib()
    assert 100 < during - before < 160
    del block
    assert resident_mib() < during - 100
    assert peak_memory_mib() > during - 1


def test_the_peak_leaves_out_the_memory_of_the_parent_process():
    block = np.ones(2**25)  # 256 MiB
    code = "from kgated_edge.measure.monitor import peak_memory_mib; print(peak_memory_mib())"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert block.all()
    assert 10 < float(run.stdout) < 200


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


def test_a_reading_holds_what_the_system_shows(tmp_path, fake_clock):
    fake_system(tmp_path)
    monitor = SystemMonitor(fake_clock().now, tmp_path)
    monitor.read()
    (reading,) = monitor.readings
    assert reading.rss_mib == 512 * os.sysconf("SC_PAGE_SIZE") / 2**20
    assert reading.temperature_c == 41.5
    assert reading.frequency_mhz == 600_000 + max(os.sched_getaffinity(0))
    (tmp_path / "sys/class/thermal/thermal_zone0/temp").write_text("not a number")
    for path in tmp_path.glob("sys/devices/system/cpu/*/cpufreq/scaling_cur_freq"):
        path.write_text("0\n")
    monitor.read()
    assert monitor.readings[1].temperature_c == -2.0
    assert (monitor.max_temperature_c, monitor.min_frequency_mhz) == (41.5, 0.0)


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("sys/class/thermal/cooling_device0/cur_state", "2", "0"),
        ("sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "7", "8"),
        ("sys/devices/platform/soc/soc:firmware/get_throttled", "e0001", "e0008"),
    ],
)
def test_throttling_is_reported(tmp_path, fake_clock, monkeypatch, name, first, second):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    fake_system(tmp_path)
    monitor = SystemMonitor(fake_clock().now, tmp_path)
    monitor.read()
    monitor.read()
    assert monitor.throttled is False, "a fan that runs, or throttling before the run"
    monitor.readings.clear()
    for text in (first, second):
        (tmp_path / name).write_text(f"{text}\n")
        monitor.read()
    assert monitor.throttled is True


def test_a_system_that_shows_nothing(tmp_path, fake_clock):
    monitor = SystemMonitor(fake_clock().now, tmp_path)
    monitor.read()
    assert (monitor.readings[0].rss_mib, monitor.max_temperature_c) == (None, None)
    assert (monitor.min_frequency_mhz, monitor.throttled) == (None, None)


def test_readings_are_taken_once_a_second_if_there_is_time(tmp_path, fake_clock):
    fake = fake_clock()
    monitor = SystemMonitor(fake.now, tmp_path)
    for _ in range(100):
        fake.time += 100_000_000
        monitor.read_when_idle(6_000_000)
    assert len(monitor.readings) == 10
    fake.time += 10_000_000_000
    monitor.read_when_idle(4_000_000)
    monitor.read_when_idle(-1)
    assert len(monitor.readings) == 10
