"""`--help` of the scripts: at once, and without doing their work."""

import ast
import importlib
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
LIGHT = (
    *("benchmark_browser", "build_release", "convert", "day_of_sound", "demo", "draw_cells"),
    *("draw_web_page", "fuzz_edge", "fuzz_parsers", "golden_outputs", "large_data"),
    *("run_tutorials", "soak_edge", "time_start", "train"),
)
HEAVY = {"keras", "kgated", "tensorflow", "torch", "jax"}


@pytest.mark.parametrize("name", LIGHT)
def test_options_are_read_before_keras_is_imported(name):
    tree = ast.parse((SCRIPTS / f"{name}.py").read_text())
    imported = {n.name for node in tree.body if isinstance(node, ast.Import) for n in node.names}
    imported |= {str(node.module) for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert not {module.partition(".")[0] for module in imported} & HEAVY


@pytest.mark.parametrize("name", ["draw_cells", "draw_web_page", "make_edge_fixtures"])
def test_scripts_without_options_write_nothing_for_help(name, monkeypatch, capsys):
    script = importlib.import_module(name)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    for folder in ("FOLDER", "FIXTURES"):
        monkeypatch.setattr(script, folder, None, raising=False)
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert ended.value.code == 0
    assert "usage:" in capsys.readouterr().out
