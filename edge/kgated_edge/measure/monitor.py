"""Memory, temperature and clock frequency, as far as the system shows them; else None."""

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

_INTERVAL_NS = 1_000_000_000
_MIN_SPARE_NS = 5_000_000
_THROTTLED = 0xE  # clock capped, throttled, soft temperature limit; bit 0 is under-voltage


@dataclass(frozen=True)
class Reading:
    """One reading.

    Attributes:
        rss_mib: resident memory of this process.
        temperature_c: of the hottest thermal zone.
        frequency_mhz: of the fastest CPU that this process may use, which is the one that works.
        cooling_steps: current cooling state of the most throttled CPU; 1 where a Raspberry Pi's
            firmware throttles.
        throttle_events: how often CPUs that this process may use were throttled since boot.
    """

    rss_mib: float | None
    temperature_c: float | None
    frequency_mhz: float | None
    cooling_steps: int | None
    throttle_events: int | None


class SystemMonitor:
    """Reads the system's state and keeps the readings.

    Args:
        now: the time in nanoseconds.
        root: where `proc` and `sys` are.
    """

    def __init__(self, now: Callable[[], int], root: Path = Path("/")) -> None:
        cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
        system = root / "sys/devices/system/cpu"
        self._root = root
        self._zones = sorted(root.glob("sys/class/thermal/thermal_zone*/temp"))
        self._clocks = [system / f"cpu{cpu}/cpufreq/scaling_cur_freq" for cpu in cpus]
        kinds = root.glob("sys/class/thermal/cooling_device*/type")
        self._coolers = [kind.parent / "cur_state" for kind in kinds if _is_of_cpu(kind)]
        self._firmware = root / "sys/devices/platform/soc/soc:firmware/get_throttled"
        self._throttles = [
            system / f"cpu{cpu}/thermal_throttle/core_throttle_count" for cpu in cpus
        ]
        self._now, self._due = now, now() + _INTERVAL_NS
        self.readings: list[Reading] = []

    @property
    def max_temperature_c(self) -> float | None:
        """The highest of all readings."""
        values = [r.temperature_c for r in self.readings if r.temperature_c is not None]
        return max(values, default=None)

    @property
    def min_frequency_mhz(self) -> float | None:
        """The lowest of all readings."""
        values = [r.frequency_mhz for r in self.readings if r.frequency_mhz is not None]
        return min(values, default=None)

    @property
    def throttled(self) -> bool | None:
        """Whether a CPU was throttled in any reading, or between two of them."""
        steps = [r.cooling_steps for r in self.readings if r.cooling_steps is not None]
        counts = [r.throttle_events for r in self.readings if r.throttle_events is not None]
        if not steps and not counts:
            return None
        return max(steps, default=0) > 0 or max(counts, default=0) > min(counts, default=0)

    def read(self) -> None:
        """Takes a reading."""
        throttles = _numbers(self._throttles, 0)
        firmware = [int(bits & _THROTTLED != 0) for bits in _numbers([self._firmware], 0, 16)]
        self.readings.append(
            Reading(
                rss_mib=resident_mib(self._root),
                temperature_c=_largest(self._zones, 1e3),
                frequency_mhz=_largest(self._clocks, 1e3),
                cooling_steps=max(_numbers(self._coolers, 0) + firmware, default=None),
                throttle_events=sum(throttles) if throttles else None,
            )
        )

    def read_when_idle(self, spare_ns: int) -> None:
        """Takes a reading once a second, if there is time for it before the next frame."""
        if spare_ns > _MIN_SPARE_NS and self._now() >= self._due:
            self._due = self._now() + _INTERVAL_NS
            self.read()


def resident_mib(root: Path = Path("/")) -> float | None:
    """Resident memory of this process, in MiB."""
    pages = _numbers([root / "proc/self/statm"], 1)
    return pages[0] * os.sysconf("SC_PAGE_SIZE") / 2**20 if pages else None


def _is_of_cpu(kind: Path) -> bool:
    """Whether a cooling device throttles CPUs: "thermal-cpufreq-0", ACPI's "Processor"."""
    try:
        text = kind.read_text()
    except OSError:
        return False
    return "cpufreq" in text or text.strip() == "Processor"


def _largest(files: Iterable[Path], unit: float) -> float | None:
    values = _numbers(files, 0)
    return max(values) / unit if values else None


def _numbers(files: Iterable[Path], place: int, base: int = 10) -> list[int]:
    """The number at a place in each file; unreadable files are left out."""
    numbers = []
    for path in files:
        try:
            numbers.append(int(path.read_text().split()[place], base))
        except (OSError, ValueError, IndexError):
            continue
    return numbers


def peak_memory_mib() -> float | None:
    """Peak resident memory of this process, in MiB; None where the system hides it."""
    try:
        # Linux's ru_maxrss includes memory of the parent process before exec; VmHWM does not.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    except OSError:
        pass
    try:
        from resource import RUSAGE_SELF, getrusage
    except ImportError:
        return None
    peak = getrusage(RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
