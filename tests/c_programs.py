"""Compiles generated C sources, and runs them on frames."""

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
SANITIZED = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

# Frames in from standard input, results out to standard output, until the input ends.
STREAM = """
#include <stdio.h>
#include "NAME.h"
static NAME_state state;
int main(void) {
  static float frame[FRAME], result[RESULT];
  if (NAME_selftest(&state) != 0) return 3;
  while (fread(frame, sizeof frame, 1, stdin) == 1) {
    if (NAME_step(&state, frame, result) != 0) return 4;
    fwrite(result, sizeof result, 1, stdout);
  }
  return 0;
}
"""


def compile_program(folder, name, main, *flags, compiler="gcc"):
    """The program of `NAME.c` and a main function; `NAME` in its text is replaced."""
    source = folder / "main.c"
    source.write_text(main.replace("NAME", name))
    program = folder / f"program-{compiler}"
    files = [str(source), str(folder / f"{name}.c"), "-o", str(program), "-lm"]
    command = [compiler, *STRICT, *flags, f"-I{folder}", *files]
    subprocess.run(command, check=True, timeout=300)
    return program


def stream_main(frame_size, result_size):
    """The text of a main function that runs a stream from its start."""
    return STREAM.replace("FRAME", str(frame_size)).replace("RESULT", str(result_size))


def run_stream(program, frames, result_size, *emulator):
    """The results (T, result_size) of a program of `stream_main`; frames of any shape (T, ...)."""
    content = np.ascontiguousarray(frames, np.float32).tobytes()
    command = [*emulator, str(program)]
    process = subprocess.run(command, input=content, capture_output=True, timeout=300)
    assert process.returncode == 0, (process.returncode, process.stderr.decode())
    return np.frombuffer(process.stdout, np.float32).reshape(-1, result_size)


def has(*tools):
    """Whether all tools are installed."""
    return all(map(shutil.which, tools))


@cache
def has_sanitizers(compiler):
    """Whether a compiler is installed with the libraries of `SANITIZED`."""
    if not has(compiler):
        return False
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "empty.c").write_text("int main(void) { return 0; }")
        command = [compiler, *SANITIZED, "empty.c", "-o", "empty"]
        return subprocess.run(command, capture_output=True, cwd=folder, timeout=60).returncode == 0


def run_command(command, folder):
    """Runs a command that must succeed."""
    process = subprocess.run(command, capture_output=True, timeout=300, cwd=folder, text=True)
    assert process.returncode == 0, (command, process.returncode, process.stderr[-2000:])
