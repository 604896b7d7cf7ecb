"""Packages of npm that tests compile with."""

import shutil
import subprocess

import pytest


def npm_package(name, version, folder, untested):
    """The folder of a package, fetched by npm; skips the test, with what was not tried, without.

    Args:
        name, version: of the package.
        folder: where it is installed.
        untested: what the test would have tried, for the reason of the skip.
    """
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip(f"there is no npm: {untested}")
    (folder / "package.json").write_text("{}")
    command = [npm, "install", "--prefer-offline", "--no-audit", f"{name}@{version}"]
    fetched = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    if fetched.returncode:
        pytest.skip(f"npm does not fetch {name}: {untested}")
    return folder / "node_modules" / name
