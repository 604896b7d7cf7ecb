"""Runs the commands of the documentation in this process."""

import re
import shlex

from kgated_edge.cli.main import main as edge
from typer.testing import CliRunner

from kgated_cli.app import app


def run_commands(lines, more=None):
    """Runs lines of a shell that are commands of kgated or kgated-edge, in their order.

    Args:
        lines: the text of a block.
        more: options that make a command quick, by its first two words.
    """
    # A loaded machine is no reason to fail.
    for line in re.sub(r"--deadline-ms \d+", "--deadline-ms 60000", lines).splitlines():
        program, *words = shlex.split(line, comments=True)
        words += (more or {}).get(f"{program} {words[0]}", [])
        if program == "kgated-edge":
            assert edge(words) == 0, line
        else:
            assert program == "kgated", line
            result = CliRunner().invoke(app, words, catch_exceptions=False)
            assert result.exit_code == 0, result.output
