"""The device names itself as its system does."""

import os
import platform

from kgated_edge.measure.device import this_device


def test_a_board_is_named_by_its_device_tree(tmp_path):
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/model").write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    (tmp_path / "proc/cpuinfo").write_text("processor\t: 0\nmodel name\t: Cortex-A76\n")
    actual = this_device(tmp_path)
    assert (actual.name, actual.processor) == ("Raspberry Pi 5 Model B Rev 1.0", "Cortex-A76")


def test_a_device_without_a_device_tree_is_named_by_its_host(tmp_path):
    actual = this_device(tmp_path)
    assert (actual.name, actual.processor) == (platform.node() or "unnamed", None)
    assert actual.machine == platform.machine()
    assert 1 <= actual.cpus <= (os.cpu_count() or 1)
