"""README: its examples run, its commands and paths exist, and it stays short."""

import pytest
import warm_processes
from documents import ROOT, blocks, page

README = page("README.md")


@pytest.mark.parametrize("number", range(len(blocks(README, "python"))))
def test_python_examples_run(number, tmp_path):
    code = blocks(README, "python")[number]
    done = warm_processes.run("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_there_are_exactly_two_set_up_commands():
    actual = [*blocks(README, "sh", marked_not_run=True), *blocks(README, "sh")]
    commands = [line for block in actual for line in block.splitlines()]
    set_up = [line for line in commands if "-m venv" in line]
    assert len(set_up) == 2
    assert "kgated demo" in set_up[0]
    assert "pytest" in set_up[1]


def test_ci_takes_its_test_command_from_readme():
    assert "<!-- test command -->\n```sh\npython3 " in README
    assert "<!-- test command -->" in (ROOT / ".ci" / "run").read_text()


def test_readme_is_short_and_begins_with_an_example():
    lines = README.splitlines()
    assert len(lines) <= 150
    assert "```python" in lines[:20]
    assert "```" in lines[:20]  # the end of the example


def layout():
    """Each path of the layout, with its description."""
    (tree,) = [block for block in blocks(README, "") if "kgated/steps.py" in block]
    entries = []
    for line in tree.splitlines():
        if line.startswith(" "):
            entries[-1][1] += line
        else:
            entries.append(line.split(maxsplit=1))
    return entries


def test_layout_names_what_exists():
    for path, text in layout():
        assert (ROOT / path).exists(), path
        folders = [word.strip(":,;") for word in text.split() if word.strip(":,;").endswith("/")]
        assert not [name for name in folders if not (ROOT / path / name).is_dir()], path


@pytest.mark.parametrize("parent", ["kgated", "kgated/deploy", "edge/kgated_edge"])
def test_layout_names_every_package(parent):
    packages = {folder.parent.name for folder in (ROOT / parent).glob("*/__init__.py")}
    text = "\n".join(" ".join(entry) for entry in layout())
    assert packages
    assert not [name for name in packages if f"{name}/" not in text]
