"""What README says works, word for word."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("number", range(len(blocks(README, "python"))))
def test_python_examples_run(number, tmp_path):
    code = blocks(README, "python")[number]
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=120)


def test_there_are_examples_and_exactly_two_set_up_commands():
    assert blocks(README, "python")
    set_up = [
        line for block in blocks(README, "sh") for line in block.splitlines() if "-m venv" in line
    ]
    assert len(set_up) == 2
    assert "kgated demo" in set_up[0]
    assert "pytest" in set_up[1]


def test_ci_takes_its_test_command_from_readme():
    assert "<!-- test command -->" in README
    assert "<!-- test command -->" in (ROOT / ".ci" / "run").read_text()


def test_links_to_files_lead_somewhere():
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in t]
    assert targets
    assert not [t for t in targets if not (ROOT / t).exists()]


def test_layout_names_what_exists():
    names = re.findall(r"^((?:kgated|edge)[\w/]*(?:\.py|/))", README, re.MULTILINE)
    assert len(names) >= 5
    assert not [name for name in names if not (ROOT / name).exists()]
