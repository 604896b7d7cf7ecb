"""What the system shows of memory, temperature and clock frequency; None where it hides them."""

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

_EVERY_NS = 1_000_000_000
_LEAST_SPARE_NS = 5_000_000
_HELD_BACK = 0xE  # clock capped, throttled, soft limit of temperature; 1 is the voltage's


@dataclass(frozen=True)
class Reading:
    """One look.

    Attributes:
        rss_mib: memory that this process holds.
        temperature_c: of the hottest zone.
        frequency_mhz: of the fastest CPU that this process may use; it is the one that works.
        cooling_steps: by how many steps the system holds back the CPU that it holds back most, now;
            1 where a Raspberry Pi's firmware does.
        throttle_events: how often it has slowed CPUs that this process may use, since it began.
    """

    rss_mib: float | None
    temperature_c: float | None
    frequency_mhz: float | None
    cooling_steps: int | None
    throttle_events: int | None


class Sensors:
    """Looks at the system, and keeps what it saw.

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
        self._now, self._due = now, now() + _EVERY_NS
        self.readings: list[Reading] = []

    @property
    def max_temperature_c(self) -> float | None:
        """The highest of all readings."""
        found = [one.temperature_c for one in self.readings if one.temperature_c is not None]
        return max(found, default=None)

    @property
    def min_frequency_mhz(self) -> float | None:
        """The lowest of all readings."""
        found = [one.frequency_mhz for one in self.readings if one.frequency_mhz is not None]
        return min(found, default=None)

    @property
    def throttled(self) -> bool | None:
        """Whether a CPU was held back in any reading, or slowed between two of them."""
        steps = [one.cooling_steps for one in self.readings if one.cooling_steps is not None]
        counts = [one.throttle_events for one in self.readings if one.throttle_events is not None]
        if not steps and not counts:
            return None
        return max(steps, default=0) > 0 or max(counts, default=0) > min(counts, default=0)

    def look(self) -> None:
        """Takes a reading."""
        throttles = _numbers(self._throttles, 0)
        firmware = [int(bits & _HELD_BACK != 0) for bits in _numbers([self._firmware], 0, 16)]
        self.readings.append(
            Reading(
                rss_mib=resident_mib(self._root),
                temperature_c=_largest(self._zones, 1e3),
                frequency_mhz=_largest(self._clocks, 1e3),
                cooling_steps=max(_numbers(self._coolers, 0) + firmware, default=None),
                throttle_events=sum(throttles) if throttles else None,
            )
        )

    def look_between(self, spare_ns: int) -> None:
        """Takes a reading once a second, where there is time for it before the next frame."""
        if spare_ns > _LEAST_SPARE_NS and self._now() >= self._due:
            self._due = self._now() + _EVERY_NS
            self.look()


def resident_mib(root: Path = Path("/")) -> float | None:
    """The memory that this process holds, in MiB."""
    pages = _numbers([root / "proc/self/statm"], 1)
    return pages[0] * os.sysconf("SC_PAGE_SIZE") / 2**20 if pages else None


def _is_of_cpu(kind: Path) -> bool:
    """Whether a cooling device slows CPUs, by its type: "thermal-cpufreq-0", ACPI's "Processor"."""
    try:
        text = kind.read_text()
    except OSError:
        return False
    return "cpufreq" in text or text.strip() == "Processor"


def _largest(files: Iterable[Path], unit: float) -> float | None:
    found = _numbers(files, 0)
    return max(found) / unit if found else None


def _numbers(files: Iterable[Path], place: int, base: int = 10) -> list[int]:
    """The number at a place in each file; files that cannot be read are left out."""
    found = []
    for path in files:
        try:
            found.append(int(path.read_text().split()[place], base))
        except (OSError, ValueError, IndexError):
            continue
    return found


def peak_memory_mib() -> float | None:
    """The largest memory that this process held so far, in MiB; None where the system hides it."""
    try:
        # Linux's ru_maxrss starts from what the process that started this one held; VmHWM does not.
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
