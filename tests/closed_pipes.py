"""Runs a command whose output has no reader."""

import os
import subprocess
import sys


def run_into_closed_pipe(stream, *arguments, unbuffered=False, module="kgated_edge"):
    """The command with `stream` (stdout or stderr) a pipe without a reader."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, *["-u"] * unbuffered, "-m", module, *map(str, arguments)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: writer}
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    try:
        return subprocess.run(command, **streams, text=True, env=environment, timeout=120)
    finally:
        os.close(writer)
