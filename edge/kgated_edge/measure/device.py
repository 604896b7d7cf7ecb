"""Describes this device, for results that are read elsewhere."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Device:
    """Where a result was measured.

    Attributes:
        name: the board's model, or else the host's name.
        machine: the instruction set, such as "aarch64".
        processor: the CPU's model name, None where the system does not say.
        cpus: CPUs that the process may use.
        system: operating system and release.
        python: Python's version.
    """

    name: str
    machine: str
    processor: str | None
    cpus: int
    system: str
    python: str


def this_device(root: Path = Path("/")) -> Device:
    """Describes the device that this process runs on.

    Args:
        root: where `proc` is.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    return Device(
        name=_board(root) or platform.node() or "unnamed",
        machine=platform.machine(),
        processor=_processor(root),
        cpus=len(affinity(0)) if affinity else os.cpu_count() or 1,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
    )


def _board(root: Path) -> str | None:
    """The model in the device tree, such as "Raspberry Pi 5 Model B Rev 1.0"."""
    try:
        text = (root / "proc/device-tree/model").read_text("utf-8", errors="replace")
    except OSError:
        return None
    return text.strip("\0 \n") or None


def _processor(root: Path) -> str | None:
    try:
        lines = (root / "proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return None
    fields = (line.partition(":") for line in lines)
    return next((v.strip() for k, _, v in fields if k.strip() == "model name" and v.strip()), None)
